from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from compress.config.errors import UserError
from compress.core.monitor import UNWATCHED
from compress.interfaces import CompressedModel, Pruner, StageContext
from compress.records.curve import CurvePoint, curve_notes, curves
from compress.records.schema import RunRecord
from compress.store.cache import StageStore
from compress.tracker.components.figures import figures
from compress.tracker.tensorboard import TensorBoardTracker
from tests.configs import settings_of
from tests.records.test_schema import make_failed, make_record

POINTS = [CurvePoint(1, 0.5, 0.75, None), CurvePoint(2, 1.0, None, 0.625)]


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag, every step and value in a run's event files."""
    found = events(folder)
    tags: list[str] = found.Tags()["scalars"]
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in tags}


def texts(folder: Path) -> dict[str, str]:
    found = events(folder)
    tags = [tag for tag in found.Tags()["tensors"] if tag.endswith("/text_summary")]
    return {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags}


def test_curves_are_live_and_those_of_cached_stages_there_in_the_end(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext], tmp_path: Path
) -> None:
    training = ("pruner.training.batch_size=8", "pruner.recovery.epochs=1")
    pruner, ctx = settings_of("pruner", "gradual", *training), context(teacher)
    assert isinstance(pruner, Pruner)
    tracker = TensorBoardTracker()
    for outcome, live in (("computed", True), ("cached", False)):
        folder = tmp_path / outcome
        with tracker.watching(folder, UNWATCHED) as monitor:
            store = StageStore(tmp_path / "stages", ctx.device, 0, monitor)
            followed = replace(ctx, monitor=monitor)
            made = store.model("pruner", pruner, {}, partial(pruner.prune, teacher, followed))
        assert store.records[-1].outcome == outcome
        history = tuple(asdict(step) for step in made.history)
        wanted = {
            f"loss/{name}": [(point.step, pytest.approx(point.loss)) for point in points]
            for name, points in curves(history)
        }
        assert [len(points) for points in wanted.values()] == [6, 1], "24 rows twice, 24 once"
        assert scalars(folder) == (wanted if live else {})
        tracker.log(make_record(history=history), folder, folder)
        assert {tag: scalars(folder)[tag] for tag in wanted} == wanted


def test_a_run_is_followed_until_it_breaks(
    run_config: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("compress.pipeline.write", break_off)
    with pytest.raises(InterruptedError):
        run_config("tracker=tensorboard", "cache=off", folder=tmp_path)
    (tag, points) = scalars(tmp_path).popitem()
    assert (tag, [step for step, _ in points]) == ("loss/teacher", [1, 2, 3, 4])


def test_the_figures_are_there_in_the_end(tmp_path: Path) -> None:
    TensorBoardTracker().log(make_record(), tmp_path, tmp_path)
    assert scalars(tmp_path) == {
        f"figures/{name}": [(0, pytest.approx(value))]
        for name, value in figures(make_record()).items()
    }


def test_losses_and_validation_losses_are_curves_of_their_own(tmp_path: Path) -> None:
    step: dict[str, Any] = {"stage": "student", "notes": curve_notes(POINTS)}
    TensorBoardTracker().log(make_record(history=(step,)), tmp_path, tmp_path)
    found = scalars(tmp_path)
    assert found["loss/student"] == [(1, 0.75)]
    assert found["validation_loss/student"] == [(2, 0.625)]


def test_a_point_is_on_the_disk_at_once(tmp_path: Path) -> None:
    with TensorBoardTracker().watching(tmp_path, UNWATCHED) as monitor:
        monitor.stage("student")
        tell = monitor.training()
        tell(POINTS[0])
        assert scalars(tmp_path) == {"loss/student": [(1, 0.75)]}


def test_events_of_an_earlier_run_in_the_folder_go(tmp_path: Path) -> None:
    tracker = TensorBoardTracker()
    tracker.log(make_record(), tmp_path, tmp_path)
    with tracker.watching(tmp_path, UNWATCHED):
        pass
    assert scalars(tmp_path) == {}


def test_a_full_disk_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def full(_: SummaryWriter) -> None:
        raise OSError("no space left on device")

    with TensorBoardTracker().watching(tmp_path, UNWATCHED) as monitor:
        monkeypatch.setattr(SummaryWriter, "flush", full)
        monkeypatch.setattr(SummaryWriter, "close", full)
        monitor.training()(POINTS[0])
    assert [line.rpartition(": ")[2] for line in caplog.messages] == ["no space left on device"] * 2


def test_a_failed_run_says_why_in_words_that_are_no_markdown(tmp_path: Path) -> None:
    TensorBoardTracker().log(make_failed("# no\n<b>way</b>"), tmp_path, tmp_path)
    assert scalars(tmp_path) == {"figures/seconds": [(0, 1.5)]}
    assert texts(tmp_path) == {
        "recipe/text_summary": "    wanda sparsity=0.5",
        "error/text_summary": "    # no\n    <b>way</b>",
    }


def test_without_the_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package tensorboard; .*compress\[tensorboard"):
        TensorBoardTracker().check()
