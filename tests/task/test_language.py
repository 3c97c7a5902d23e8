"""A language model through a whole run: cut, distilled, pruned, quantized, reloaded, measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.records.schema import RunRecord

WORDS = ("the sad dull film ended", "a glad bright film began", "nobody knew what came of it")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{WORDS[i * i % 3]} {WORDS[i % 3]} .\n" for i in range(400)))
    return path


def run(
    run_config: Callable[..., RunRecord], text: Path, architecture: str, *overrides: str
) -> RunRecord:
    return run_config(
        "task=textfile", f"task.path={text}", "task.context=16", "task.calibration_samples=4",
        f"teacher.architecture={architecture}", "teacher.layers=2", "teacher.hidden=16",
        "task.limit=16", "task.split.evaluation_fraction=0.3", *overrides,
    )  # fmt: skip


@pytest.mark.slow
def test_a_teacher_learns_the_text(run_config: Callable[..., RunRecord], text: Path) -> None:
    """One that knows nothing of its 1,000 tokens has a perplexity of about 1,000."""
    record = run(
        run_config,
        text,
        "llama",
        "teacher.finetune.epochs=6",
        "teacher.finetune.learning_rate=0.01",
    )
    score = record.baseline.score
    assert score.metric == "perplexity"
    assert score.low < score.value < score.high < 900
    assert score.quality == pytest.approx(-math.log(score.value))
    assert set(score.others) == {"bits_per_byte", "token_accuracy", "cloze_accuracy"}
    assert score.samples == 16
    assert score.split == "16 windows of 16 tokens (stride 16) of the last 30% of text.txt"
    assert (record.data.train, record.data.truncated) == (16, None)


@pytest.mark.parametrize(
    ("architecture", "stages"),
    [
        ("llama", ["student=layers", "student.keep=1", "student.distillation.epochs=1",
                   "pruner=wanda", "quantizer=int8_dynamic"]),
        pytest.param(
            "gpt2", ["pruner=sparsegpt", "pruner.recovery.epochs=1", "quantizer=rtn",
                     "task.stride=4"],
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_all_stages(
    architecture: str, stages: list[str], run_config: Callable[..., RunRecord], text: Path
) -> None:
    record = run(run_config, text, architecture, *stages)
    assert record.metrics.sparsity == pytest.approx(0.5, abs=0.02)
    score = record.metrics.score
    assert math.isfinite(score.value)
    assert score.low < score.value < score.high
    assert (record.comparison.n_regressed, record.comparison.n_improved) == (None, None)
    assert 0 < record.comparison.agreement <= 1
    assert record.speedup[0].ratio > 0
    written = record.metrics.generation
    assert written is not None
    assert (written.prompt, written.new_tokens) == (6, 3)
    assert written.speedup_low is not None
    assert written.speedup_low <= written.speedup <= written.speedup_high  # type: ignore[operator]
    assert min(written.tokens_per_second, written.time_to_first_token_ms) > 0
    assert record.baseline.generation is not None
    assert record.baseline.generation.speedup is None
