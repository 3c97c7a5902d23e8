"""Bad input gets one clear line, before any weight is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress.build import build_run
from compress.cli import cross_choices
from compress.config.errors import UserError
from tests.commands import refusal
from tests.configs import ROOT, compose_config
from tests.mistake_files import arguments, write_files
from tests.mistakes import TABLE
from tests.slow import slow_but


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def check_traces(folder: Path, line: str) -> None:
    """Checks that the record of a refused run says what the screen did, and nothing was stored."""
    out, record = folder / "out", folder / "out" / "metrics.json"
    assert out.exists() == record.exists()
    if record.exists():
        raw = json.loads(record.read_text(), parse_constant=pytest.fail)
        assert (raw["status"], f"error: {raw['error']}") == ("failed", line)
    assert not (folder / "cache").exists()


@pytest.mark.parametrize(("words", "said"), slow_but(TABLE[::3], TABLE))
def test_one_line_before_any_weight(
    words: str,
    said: str,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("weights were touched")

    for reader in ("safetensors.safe_open", "safetensors.torch.load_file", "torch.load"):
        monkeypatch.setattr(reader, forbidden)
    line = refusal(*arguments(words, files))
    assert line.startswith("error: ")
    assert said in line
    assert line.isprintable()
    assert len(line) < 500
    assert capfd.readouterr() == ("", "")
    check_traces(files, line)


def check_process(words: str, said: str, folder: Path) -> None:
    """Checks what a command says and leaves behind, in a process of its own.

    How long it takes is for `benchmarks/refusals.py`: beside other tests no time says anything.
    """
    write_files(folder)
    done = subprocess.run(
        [sys.executable, "run.py", *arguments(words, folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1)
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    check_traces(folder, lines[0])


# One that the command line's own check finds, one of Hydra's, one of a setting, one of a file.
THIRD = TABLE[::3]
FEW = [row for row in TABLE if row[0].startswith(("pruner=null", "seed=nan", "prunner", "-m seed"))]


@pytest.mark.parametrize(("words", "said"), FEW)
def test_one_line_in_a_process_of_its_own(words: str, said: str, tmp_path: Path) -> None:
    check_process(words, said, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "said"), THIRD)
def test_every_third_line_in_a_process_of_its_own(words: str, said: str, tmp_path: Path) -> None:
    check_process(words, said, tmp_path)


def test_every_wrong_group_is_named_at_once() -> None:
    cfg = compose_config("pruner=wanda", "pruner.sparsity=2", "device.threads=0", "task.limit=0")
    with pytest.raises(UserError) as caught:
        build_run(cfg)
    for key in ("pruner.sparsity", "device.threads", "task.limit"):
        assert key in str(caught.value)


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("-m pruner=a,b pruner.sparsity=0.5", "-m pruner=a,b pruner.sparsity=choice(0.5)"),
        ("-m pruner=a,b ++pruner.x.y=2:4", "-m pruner=a,b ++pruner.x.y=choice(2:4)"),
        (
            "-m pruner=a,b pruner.s=0.1,0.2 student.k=2",
            "-m pruner=a,b pruner.s=0.1,0.2 student.k=2",
        ),
        (
            "-m task/transfer=a,b task.transfer.limit=5 task.transfers=1 task.limit=9",
            "-m task/transfer=a,b task.transfer.limit=choice(5) task.transfers=1 task.limit=9",
        ),
        ("-m pruner=a,b pruner.s=null", "-m pruner=a,b ++pruner.s=null"),
        ("-m pruner=a,b ++pruner.s=null", "-m pruner=a,b ++pruner.s=null"),
        ("-m pruner=a pruner.sparsity=0.5", "-m pruner=a pruner.sparsity=0.5"),
        ("-m pruner=a,b ~pruner.sparsity", "-m pruner=a,b ~pruner.sparsity"),
        ("pruner=( pruner.sparsity=0.5", "pruner=( pruner.sparsity=0.5"),
    ],
)
def test_a_setting_of_a_swept_group_waits_for_the_jobs(given: str, passed_on: str) -> None:
    assert cross_choices(given.split()) == passed_on.split()
