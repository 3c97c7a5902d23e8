"""The command that predicts costs: what it combines, what it refuses, and what it shows."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compress.config.errors import ConfigError, UserError
from compress.replay.costs import asked_costs
from scripts.costs import costs
from tests.configs import TINY
from tests.conftest import StillPair

TEXTS = [*(word for word in TINY if not word.startswith("controls")), "task.calibration_samples=4"]
SPACE = [
    "costs.minutes=0.0001", "costs.space.layers=[1,2]", "costs.space.hidden=[null,24]",
    "costs.space.heads=[null]", "costs.space.neurons=[null]", "costs.space.embedding=[null]",
    "costs.space.activation=[null]", "costs.space.vocabulary=[null]",
]  # fmt: skip


@pytest.mark.slow
def test_values_of_device_and_quantizer_are_crossed() -> None:
    asked = asked_costs(
        [
            *(*TEXTS, *SPACE, "device=cpu,cpu_onnxruntime", "quantizer=none,int8_dynamic,bf16"),
            *("quantizer.embeddings=none,int8", "costs.rounds=2"),
        ]
    )
    assert list(asked.runs) == [
        "cpu/none",
        "cpu/int8_dynamic embeddings=none",
        "cpu/int8_dynamic embeddings=int8",
        "cpu/bf16",
        "cpu_onnxruntime/none",
        "cpu_onnxruntime/int8_dynamic embeddings=none",
        "cpu_onnxruntime/int8_dynamic embeddings=int8",
    ]
    assert asked.runs["cpu/int8_dynamic embeddings=int8"].quantizer.table_bits() == 8
    assert list(asked.refused) == ["cpu_onnxruntime/bf16"]
    assert asked.refused["cpu_onnxruntime/bf16"].startswith("quantizer=bf16 is not supported by th")
    assert (asked.costs.rounds, asked.costs.space.layers) == (2, (1, 2))


def test_a_setting_of_one_choice_is_not_given_to_the_others() -> None:
    asked = asked_costs([*TEXTS, "device=cpu,cpu_openvino", "device.runtime.specialize=false"])
    assert asked.runs["cpu_openvino/none"].device.runtime.describe()["specialize"] is False


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["pruner=wanda"], "only settings of teacher, task, device, quantizer, cache, seed, costs"),
        (
            ["teacher=tiny_random,bert_base"],
            "only device and quantizer can have several values, got",
        ),
        (
            ["task.limit=64,128"],
            "only device and quantizer can have several values, got task.limit",
        ),
        (["device.threads=interval(1,2)"], "only device and quantizer can have several values"),
        (
            ["quantizer=int8_static"],
            "no device and quantizer can be tried: quantizer=int8_static is",
        ),
        (["task.limit=0"], "no device and quantizer can be tried: task.limit must be > 0"),
        (["costs.space.hidden=[0]"], r"costs.space.hidden\[0\] must be > 0 or null, got 0"),
        (["costs.space.heads=[]"], "costs.space.heads must"),
        (["costs.space.activation=[step]"], "costs.space.activation"),
        (
            ["costs.space.layers=[1,1]"],
            r"costs.space.layers must list each value once, got \[1, 1\]",
        ),
        (["costs.space.layers=null"], "costs.space.layers must"),
        (["costs.minutes=-1"], "costs.minutes must be >= 0, got -1"),
        (["costs.rounds=0"], "costs.rounds must be > 0, got 0"),
    ],
)
def test_a_mistake_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked_costs([*TEXTS, *overrides])


def command(tmp_path: Path, capsys: Any, **given: Any) -> tuple[int, str, str]:
    """Status, page and progress of a command."""
    plain = {"faster": [], "smaller": None, "top": 20, "check": 0, "markdown": None}
    overrides = [*TEXTS, *SPACE, f"cache.dir={tmp_path / 'cache'}", *given.pop("overrides", [])]
    shown = io.StringIO()
    arguments = argparse.Namespace(**{**plain, **given}, overrides=overrides)
    code = costs(arguments, Console(file=shown, width=200))
    return code, capsys.readouterr().out, shown.getvalue()


def test_a_command_measures_lists_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )
    written = tmp_path / "page.md"
    code, page, progress = command(
        tmp_path,
        capsys,
        overrides=["quantizer=none,int8_dynamic,int8_static"],
        faster=["1x8=1"],
        smaller=1.2,
        check=2,
        markdown=written,
    )
    assert code == 0
    assert "cpu/none: 1 of the 4 models measured that predictions need; layers=2" in progress
    assert written.read_text() == page
    assert page.startswith("# Predicted costs\n\nMachine: ")
    assert "Float32 teacher, eager: 1.00 ms at 1×8, 1.00 ms at 4×16; 0." in page
    assert "| cpu/none | 4 | 0.0% (0.0%) | 0.0% (0.0%) | " in page
    assert "## 1× faster at 1×8, 1.2× smaller" in page
    assert "| cpu/int8\\_dynamic | 1 | 24 | 2 | 64 | – | gelu | 1000 | 512 | 1.0 ± 0.0 |" in page
    [first] = re.findall(r"^The first one: `python (.*)`$", page, re.MULTILINE)
    words = first.replace("'", "").split()
    assert words[0] == "run.py"
    assert {*TEXTS, "quantizer=int8_dynamic"} <= set(words)
    assert words[-3:-1] == ["student=layers", "student.keep=1"]
    assert words[-1] == "student.shape.hidden=24"  # of equal times the smallest
    assert "costs." not in first
    timed = r"1\.00 / 1\.00 \(\+0\.0%\)"
    checked = rf"^\| [12] \| cpu/\S+ \| {timed} \| {timed} \| \d+ / \d+ \([+-]0\.\d\d%\) \|$"
    assert len(re.findall(checked, page, re.MULTILINE)) == 2
    assert "- cpu/int8\\_static: quantizer=int8\\_static is not supported" in page


def test_what_no_shape_meets_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )
    code, page, _ = command(tmp_path, capsys, faster=["1x8=2"], top=1)
    assert code == 1
    assert "No shape of the space is predicted to meet this; the closest ones:" in page
    assert page.count("| cpu/none | ") == 2
    code, page, _ = command(tmp_path, capsys, overrides=["costs.minutes=0"])
    assert (code, page.count("\n## ")) == (0, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"check": 1}, "--check measures the shapes that --faster or --smaller list; set one"),
        ({"top": 0}, "--top must be >= 1 and --check >= 0, got 0 and 0"),
        ({"check": -1}, "--top must be >= 1 and --check >= 0, got 20 and -1"),
        ({"faster": ["1x9=2"]}, "must be of a shape that is timed, 1x8, 4x16"),
        ({"overrides": ["cache=off"]}, "is kept in the stage cache: set cache=on"),
        ({"overrides": ["costs.space.layers=[5]"]}, "the teacher has only 4 layers"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    given: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compress.costs.measuring.open_lab", None)
    with pytest.raises(ConfigError, match=said):
        command(tmp_path, capsys, **given)


def test_a_page_of_something_else_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.md"
    mine.write_text("# Mine")
    with pytest.raises(UserError, match="exists and is not such a page"):
        command(tmp_path, capsys, markdown=mine)
