"""What a search of jobs that are no models has left."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from compress.records.schema import read_record


def trials(folder: Path) -> list[FrozenTrial]:
    """The trials of a search that count."""
    study = optuna.load_study(
        study_name="test", storage=f"sqlite:///{folder / 'trials' / 'study.db'}"
    )
    return [t for t in study.trials if t.state != TrialState.FAIL or "reason" in t.user_attrs]


def reasons(folder: Path) -> list[str]:
    return [t.user_attrs["reason"] for t in trials(folder) if t.state == TrialState.FAIL]


def check_finished(folder: Path, count: int) -> None:
    """That so many trials are complete, none twice, each with its folder and record."""
    found = trials(folder)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * count
    assert len({json.dumps(trial.user_attrs["point"]) for trial in found}) == count
    for trial in found:
        place = Path(trial.user_attrs["folder"])
        assert read_record(place / "metrics.json").status == "ok"
        weights = float((place / "model" / "weights").read_text())
        assert weights == pytest.approx(float(trial.params["x"]))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
