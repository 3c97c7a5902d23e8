"""Runs are handed to a tracker; what becomes of that is no matter of the run's."""

from __future__ import annotations

import logging
from pathlib import Path
from unittest.mock import MagicMock, call

import pytest

from compress.core.monitor import Monitor
from compress.job import UNTRACKED, track, track_sweep
from compress.records.curve import CurvePoint
from compress.records.schema import write_record
from compress.tracker.components.tracking import LiveCurves
from tests.configs import compose_config
from tests.records.test_schema import make_record

POINT = CurvePoint(1, 1.0, 0.5, None)


def test_trainings_are_told_apart_by_stage_and_number() -> None:
    told: list[tuple[str, CurvePoint]] = []
    outer = MagicMock(spec=Monitor)
    live = LiveCurves(outer, lambda name, point: told.append((name, point)))
    for stage in ("teacher", "pruner"):
        live.stage(stage)
        for _ in range(2):
            live.training()(POINT)
    for name in ("student", "supernet"):
        live.stage(name)
    live.training()(POINT)
    live.resume("student")
    live.training()(POINT)
    live.stage("pruner")
    live.training()(POINT)  # of a model between the stages
    names = ["teacher", "teacher_2", "pruner", "pruner_2", "supernet", "student"]
    assert told == [(name, POINT) for name in names]
    assert outer.training.return_value.call_args_list == [call(POINT)] * 7
    outer.reset_mock()
    for asked in (
        call.stage("x"),
        call.resume("x"),
        call.step(1, 2),
        call.look(1, 2, print),
        call.forecast(print),
    ):
        getattr(live, asked[0])(*asked.args)
        assert outer.mock_calls.pop() == asked
    assert live.quiet() is outer.quiet.return_value


def test_a_tracker_that_breaks_ends_no_training(caplog: pytest.LogCaptureFixture) -> None:
    def full(name: str, point: CurvePoint) -> None:
        raise OSError("no space left on device")

    live = LiveCurves(Monitor(), full)
    tell = live.training()
    tell(POINT)
    tell(POINT)
    (line,) = caplog.messages
    assert line.endswith("its curve is not followed: no space left on device")


def test_a_run_that_is_not_taken_is_whole_and_handed_over_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "0"
    run.mkdir()
    (tmp_path / "file").touch()
    path = write_record(make_record(), run)
    before = path.read_text()
    broken = compose_config("tracker=mlflow", f"tracker.dir={tmp_path / 'file'}")
    reason = track(broken, make_record(), run, tmp_path)
    assert reason is not None
    assert "file: File exists" in reason
    assert (run / UNTRACKED).read_text() == f"{reason}\n"
    assert path.read_text() == before
    assert caplog.record_tuples[-1][1:] == (logging.ERROR, f"not tracked: {reason}")
    assert track_sweep(broken, tmp_path) == [reason, reason], "the run, then the report"
    working = compose_config("tracker=tensorboard")
    assert track_sweep(working, tmp_path) == []
    assert not (run / UNTRACKED).exists()
    assert (run / "tensorboard").is_dir()


def test_a_run_that_was_refused_for_its_tracker_is_not_handed_over(tmp_path: Path) -> None:
    cfg = compose_config("tracker=mlflow", "tracker.uri=folder")
    assert track(cfg, make_record(), tmp_path, tmp_path) is None
    assert not list(tmp_path.iterdir())
