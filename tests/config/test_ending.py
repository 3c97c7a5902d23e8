"""How commands end: in one line where the user or the machine is wrong, in a traceback else."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import HydraException, InstantiationException
from safetensors import SafetensorError
from yaml import YAMLError

from compress.config.ending import INTERRUPTED, UNREAD, mistake, one_line, one_line_ending
from compress.config.errors import ConfigError
from tests.configs import ROOT, TINY


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError("one\n  two"), "one two"),
        (ConfigError("a\x1b[31mred\x00"), r"a\x1b[31mred\x00"),
        (ConfigError("no \udcff text"), r"no \udcff text"),
        (OSError(errno.ENOSPC, FULL, "a/b"), f"a/b: {FULL}"),
        (OSError(errno.ENOSPC, FULL), FULL),
        (OSError(errno.EFBIG, "File too large"), "File too large"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", b"a"), "a: Read-only file system"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"), "a: Not a directory"),
        (SafetensorError("while serializing: I/O error: … (os error 28)"), FULL),
        (Exception("No space left on device (os error 28)"), FULL),
        (caused(RuntimeError("could not write"), OSError(errno.ENOSPC, FULL)), FULL),
        (MemoryError(), "out of memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            "out of memory: [enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes",
        ),
        (YAMLError('while parsing\n  in "a.yaml", line 1'), 'while parsing in "a.yaml", line 1'),
        (HydraException("it is\nso"), "it is so"),
        (caused(InstantiationException("in call"), ConfigError("n must be > 0")), "n must be > 0"),
    ],
)
def test_mistakes_of_the_user_and_of_the_machine(error: Exception, words: str) -> None:
    assert mistake(error) == one_line(error) == words
    with pytest.raises(SystemExit) as ended, one_line_ending():
        raise error
    assert ended.value.code == f"error: {words}"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("so\nwhat"), "ValueError: so what"),
        (AssertionError(), "AssertionError"),
        (OSError("no number"), "OSError: no number"),
        (OSError(errno.ECHILD, "No child processes"), "ChildProcessError: [Errno 10] No child pro"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "BrokenPipeError: [Errno 32] Broken pipe"),
        (RuntimeError("(os error 2)"), "RuntimeError: (os error 2)"),
    ],
)
def test_bugs_of_ours_keep_their_traceback(error: Exception, line: str) -> None:
    assert mistake(error) is None
    assert one_line(error).startswith(line)
    with pytest.raises(type(error)), one_line_ending():
        raise error


def test_an_error_of_a_handler_is_no_cause() -> None:
    """What was being handled when something else went wrong is not why it did."""
    error = KeyError("a bug")
    error.__context__ = OSError(errno.ENOSPC, FULL)
    assert mistake(error) is None


def test_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_ending():
        raise KeyboardInterrupt
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PY": sys.executable},
    )  # fmt: skip


# More than a pipe holds, so that a reader that has gone is always noticed.
WORDY = (
    "from compress.config.ending import *\n"
    "with one_line_ending():\n for i in range(10**6): print(i)"
)


@pytest.mark.parametrize("command", ["$PY run.py --help", f'$PY -c "{WORDY}"'])
def test_a_reader_that_goes_away_is_no_error(command: str) -> None:
    done = shell(f"{command} | head -1")
    assert done.returncode in (0, UNREAD)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["$PY run.py --help", f'$PY -c "{WORDY}"'])
def test_a_screen_that_takes_nothing_more_is_said_in_a_line(command: str) -> None:
    done = shell(f"{command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, f"error: {FULL}\n")


SCRIPTS = {
    "aggregate.py": "no/folder",
    "cache.py": "--dir no/folder list",
    "compare.py": "no/one no/other",
    "costs.py": "pruner=wanda",
    "experiment_table.py": "no/folder",
    "gate.py": "no/run",
    "export.py": "no/run no/target",
    "probe.py": "no/model",
    "rebench.py": "no/sweep",
    "columns.py": "surplus",
    "settings.py": "surplus",
}


def test_every_script_is_in_the_table() -> None:
    assert {path.name for path in (ROOT / "scripts").glob("*.py")} <= {*SCRIPTS}


HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code
    slow = {"torch", "transformers", "pandas", "matplotlib", "bokeh", "scipy", "optuna"}
    assert not slow & {*sys.modules}, slow & {*sys.modules}
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_waits_for_nothing_slow(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, f"scripts/{script}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "show this help message" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("words", [None, "--nothing"])
def test_scripts_end_in_one_line(script: str, words: str | None) -> None:
    given = (SCRIPTS[script] if words is None else words).split()
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", *given],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.mark.slow
def test_an_interrupted_run_says_so_in_a_line_and_in_its_record(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "run.py", *TINY, "teacher.finetune.epochs=1000",
         f"hydra.run.dir={tmp_path / 'out'}", f"cache.dir={tmp_path / 'cache'}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell that started the tests in the background has the signal ignored in all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "cache" / "teacher").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == INTERRUPTED
    assert err.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in out + err
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (record["status"], record["error"]) == ("failed", "interrupted")


# What a run may write into any one file, in bytes, as if the disk were full: from not even its
# config to all but its weights.
@pytest.mark.slow
@pytest.mark.parametrize("room", [500, 3_000, 30_000, 100_000, 300_000])
def test_a_full_disk_is_said_in_a_line(room: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "run.py", *TINY,
         f"hydra.run.dir={tmp_path / 'out'}", f"cache.dir={tmp_path / 'cache'}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "File too large" in last
