from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from compress.system.processes import family_seconds, release_memory, start_server
from tests.commands import refusal
from tests.configs import ROOT, TINY

SCRIPT = """
from compress.system.processes import process_context, start_server

if __name__ == "__main__":
    start_server(["tabnanny"])
    context = process_context(["nothing that is ever imported"])
    known = "import sys; sys.exit('tabnanny' in sys.modules)"
    process = context.Process(target=exec, args=(known,))
    process.start()
    process.join()
    print(process.exitcode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="is glibc's way to free memory")
def test_freed_memory_goes_back_to_the_system() -> None:
    blocks = [b"x" * 65_536 for _ in range(3_200)]  # 200 MB, too small to be mapped each
    last, before = blocks[-1], psutil.Process().memory_info().rss
    del blocks  # but for the last one, which keeps the heap from shrinking by itself
    release_memory()
    assert before - psutil.Process().memory_info().rss > 150_000_000
    assert last


@pytest.mark.skipif(sys.platform == "win32", reason="has no server to fork processes from")
def test_the_server_has_imported_what_its_first_caller_named(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_no_server_is_started_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", None)
    start_server(["torch"])


def test_a_run_that_cannot_be_starts_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("compress.job.start_server", None)
    said = refusal(*TINY, "pruner=wanda", "pruner.sparsity=2", f"hydra.run.dir={tmp_path}")
    assert said.startswith("error: pruner.sparsity must be in [0, 1), got 2")


def test_what_a_process_starts_is_its_family() -> None:
    spin = "import time\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True)\ninput()"
    before = family_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        after = family_seconds()
        child.communicate("\n")
    [seconds] = [spent for (pid, _), spent in after.items() if pid == child.pid]
    assert seconds >= 0.35
    assert child.pid not in {pid for pid, _ in before}
    assert os.getpid() in {pid for pid, _ in after}
