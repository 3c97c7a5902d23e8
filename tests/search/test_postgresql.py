"""Two drivers and one PostgreSQL: Debian's package, started here where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from tests.search.test_interruptions import ended, start

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BUDGET = 20


@pytest.fixture
def url() -> Iterator[str]:
    """A database of its own, gone afterwards."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # Not in pytest's folders, which are for the eyes of their driver alone.
    folder = Path(tempfile.mkdtemp(prefix="postgresql"))
    as_driver: list[str] = []
    if os.geteuid() == 0:
        # It refuses to run as root.
        shutil.chown(folder, "postgres")
        as_driver = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, program = folder / "data", [*as_driver, str(BINARIES[-1] / "pg_ctl"), "-D"]
    setup = [*as_driver, str(BINARIES[-1] / "initdb"), "-A", "trust", "-U", "test", "-D", str(data)]
    subprocess.run(setup, check=True, capture_output=True, cwd=folder)
    options = f"-h 127.0.0.1 -p {port} -k {folder}"
    begin = [*program, str(data), "-w", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(begin, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
    finally:
        end = [*program, str(data), "-m", "immediate", "stop"]
        subprocess.run(end, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_two_drivers_share_a_budget(url: str, tmp_path: Path) -> None:
    """Started at once: both find no study, and both want to make it."""
    options = (f"budget={BUDGET}", f"storage={url}", "fixed=[seconds=0.05]", "sampler=tpe")
    processes = [start(tmp_path / name, *options) for name in ("one", "two")]
    for process in processes:
        ended(process, timeout=120)
    storage = RDBStorage(url)
    trials = optuna.load_study(study_name="test", storage=storage).trials
    storage.engine.dispose()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == BUDGET
    assert len({json.dumps(trial.user_attrs["point"]) for trial in complete}) == BUDGET
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert not any("reason" in trial.user_attrs for trial in trials)
    drivers = {trial.user_attrs["driver"] for trial in complete}
    assert len(drivers) == 2
    for trial in complete:
        assert (Path(trial.user_attrs["folder"]) / "model" / "weights").is_file()
