"""Runs whose models execute the same graphs share one timing."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.build import build_run
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel
from compress.measure.generation import Writing
from compress.measure.latency import Memory, Timing, Timings
from compress.measure.sharing import Timed, model_graph, shared_timing
from compress.measure.sparsity import count_weights
from compress.pipeline import execute
from compress.records.schema import FinishedRun
from compress.store.artifact import write_model
from compress.transformer.torch_model import TorchModel
from tests.configs import TINY, blank_record, compose_config
from tests.conftest import StillPair

Runs = Callable[..., FinishedRun]


@pytest.fixture
def made() -> list[str]:
    return []


def timing(made: list[str], run: str) -> Callable[[], Timed]:
    def make() -> Timed:
        made.append(run)
        shape = Timing(1, 8, ([1.5, 1.25], [3.0, 2.5]), [[0.5, 0.25], [0.125]])
        return Timed(
            run, Timings((shape,), (Memory(7, None), Memory(8, 9)), True), None, ((0.5,), (None,))
        )

    return make


def test_equal_graphs_are_timed_once(device: Cpu, tmp_path: Path, made: list[str]) -> None:
    first = shared_timing(("a", "b"), "rows", device, tmp_path, "", timing(made, "0"))
    assert shared_timing(("a", "b"), "rows", device, tmp_path, "", timing(made, "1")) == first
    assert first == timing([], "0")()
    assert made == ["0"]


@pytest.mark.parametrize(
    "differs", ["graph", "baseline", "texts", "fold", "threads", "seconds", "share"]
)
def test_other_conditions_are_timed_again(
    differs: str, device: Cpu, tmp_path: Path, made: list[str]
) -> None:
    other, graphs, texts, part = device, ("a", "b"), "rows", ""
    match differs:
        case "graph":
            graphs = ("c", "b")
        case "baseline":
            graphs = ("a", "c")
        case "texts":
            texts = "other rows"
        case "fold":
            part = "fold-2"
        case "threads":
            other = replace(device, threads=2)
        case "seconds":
            other = replace(device, benchmark=replace(device.benchmark, seconds=9.0))
        case "share":
            other = replace(device, benchmark=replace(device.benchmark, share=False))
    shared_timing(("a", "b"), "rows", device, tmp_path, "", timing(made, "0"))
    shared_timing(graphs, texts, other, tmp_path, part, timing(made, "1"))
    assert made == ["0", "1"]


def test_a_language_model_shares_what_it_wrote(device: Cpu, tmp_path: Path) -> None:
    length = replace(device.benchmark, generation=None).generation
    assert length is None
    writing = Writing(  # type: ignore[call-arg]
        length=build_run(compose_config(*TINY)).device.benchmark.generation,
        first_ms=([1.0], [2.0]),
        token_ms=([0.5], [1.0]),
        restarts=[[0.7]],
    )
    timed = replace(timing([], "0")(), writing=writing)
    shared_timing(("a", "b"), "rows", device, tmp_path, "", lambda: timed)
    again = shared_timing(("a", "b"), "rows", device, tmp_path, "", timing([], "1"))
    assert again == timed


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1e-39, torch.float32, True),
        (-1e-45, torch.float32, True),
        (0.0, torch.float32, False),
        (1.2e-38, torch.float32, False),
        (1e-39, torch.bfloat16, True),
        (1e-6, torch.float16, False),  # subnormal in float16, normal where it is multiplied
    ],
)
def test_models_with_subnormal_weights_share_with_none(
    value: float, dtype: torch.dtype, expected: bool, teacher: CompressedModel, tmp_path: Path
) -> None:
    graphs = []
    for name, weight in (("plain", 0.5), ("other", value)):
        module = teacher.module.to(dtype)
        module.get_input_embeddings().weight.data[0, 0] = weight
        model = TorchModel(module, teacher.tokenizer, "cpu")
        write_model(replace(teacher, module=module), tmp_path / name, "torch")
        subnormal = count_weights(model.weights(), set()).subnormal
        graphs.append(model_graph(tmp_path / name, subnormal=subnormal))
    assert subnormal == expected
    assert (graphs[0] != graphs[1]) == expected


def run_in(sweep: Path, number: int, cache: Path, *overrides: str) -> FinishedRun:
    """A run of a sweep."""
    cfg = compose_config(*TINY, f"cache.dir={cache}", *overrides)
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    return execute(build_run(cfg), folder, sweep, blank_record(cfg))


@pytest.mark.usefixtures("run_config")
def test_runs_of_a_sweep_say_whose_timing_it_is(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenized = map(float, itertools.count(1))
    monkeypatch.setattr(StillPair, "tokenize", lambda *_: [next(tokenized)])
    pruners = (("pruner=magnitude", f"pruner.sparsity={s}") for s in ("0.3", "0.5"))
    runs = [run_in(tmp_path, i, cache_dir, *words) for i, words in enumerate(pruners)]
    runs.append(run_in(tmp_path, 2, cache_dir, "pruner=neurons", "pruner.sparsity=0.5"))
    runs.append(run_in(tmp_path, 3, cache_dir, "seed=1"))
    owners = [[each.shared_with for each in run.metrics.latency] for run in runs]
    assert owners == [[None] * 2, ["0"] * 2, [None] * 2, ["0"] * 2]
    assert [each.shared_with for each in runs[1].baseline.latency] == ["0"] * 2
    assert runs[1].speedup == runs[0].speedup
    assert runs[1].metrics.peak_memory_bytes == runs[0].metrics.peak_memory_bytes
    times = {each.tokenize_ms for run in runs for each in run.metrics.latency}
    assert len(times) == 4, "tokenizers are timed with the models"
    assert len(list(tmp_path.glob("timings-*.json"))) == 2


def test_another_tokenizer_is_timed_again(teacher: CompressedModel, tmp_path: Path) -> None:
    tokenizer = copy.deepcopy(teacher.tokenizer)
    tokenizer.add_tokens(["another"])
    for name, processor in (("a", teacher.tokenizer), ("b", teacher.tokenizer), ("c", tokenizer)):
        write_model(replace(teacher, tokenizer=processor), tmp_path / name, "torch")
    graphs = [model_graph(tmp_path / name, subnormal=False) for name in "abc"]
    assert graphs[0] == graphs[1] != graphs[2]


@pytest.mark.usefixtures("run_config")
def test_a_run_by_itself_is_timed_again_in_its_folder(tmp_path: Path, cache_dir: Path) -> None:
    cfg = compose_config(*TINY, f"cache.dir={cache_dir}")
    (tmp_path / "timings-mine.json").write_text("{}")
    for _ in range(2):
        execute(build_run(cfg), tmp_path, tmp_path, blank_record(cfg))
        (written,) = tmp_path.glob("timings-????????????.json")
        assert json.loads(written.read_text())["run"] == "."
        written.write_text("damaged")
    assert (tmp_path / "timings-mine.json").read_text() == "{}"
