from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.config.errors import ConfigError, UserError
from compress.records.curve import CurvePoint, curve_notes
from compress.records.schema import RunRecord, write_record
from compress.tracker.components.figures import figures
from compress.tracker.mlflow import MlflowTracker, clean_params
from tests.configs import ROOT
from tests.records.test_schema import make_failed, make_record

# SQLAlchemy 2.1 on the way in which MLflow 3.17 sets up its tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

POINTS = [CurvePoint(1, 0.5, 0.75, None), CurvePoint(2, 1.0, 0.5, 0.625)]
STEP: dict[str, Any] = {"stage": "student", "notes": curve_notes(POINTS)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: to make a database takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def tracker(store: Path, request: pytest.FixtureRequest) -> MlflowTracker:
    """With an experiment of the test's own."""
    return MlflowTracker(dir=str(store), uri=None, experiment=request.node.name)


def log(tracker: MlflowTracker, record: RunRecord, folder: Path, shared: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_record(record, folder)
    tracker.log(record, folder, shared)


def runs(tracker: MlflowTracker) -> list[Any]:
    """The experiment's runs, the newest first."""
    client = tracker._client()
    experiment = client.get_experiment_by_name(tracker.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def artifacts(tracker: MlflowTracker, run: Any) -> dict[str, bytes]:
    client = tracker._client()
    names = [each.path for each in client.list_artifacts(run.info.run_id)]
    paths = {name: Path(client.download_artifacts(run.info.run_id, name)) for name in names}
    return {name: path.read_bytes() for name, path in paths.items()}


def test_a_run_is_read_back_as_it_was(tracker: MlflowTracker, tmp_path: Path) -> None:
    record = make_record(history=({"stage": "teacher"}, STEP))
    log(tracker, record, tmp_path / "7", tmp_path / "7")
    (run,) = runs(tracker)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "7: wanda sparsity=0.5"
    assert (run.info.start_time, run.info.end_time) == (1767225600000, 1767225601500)
    assert run.data.params == {"pruner.sparsity": "0.5"}
    last = {"loss/student": 0.5, "validation_loss/student": 0.625}
    assert run.data.metrics == {**figures(record), **last}
    history = tracker._client().get_metric_history(run.info.run_id, "loss/student")
    assert [(each.step, each.value) for each in history] == [(1, 0.75), (2, 0.5)]
    own = {key: tag for key, tag in run.data.tags.items() if not key.startswith("mlflow.")}
    assert own == {"recipe": "wanda sparsity=0.5", "status": "ok"}
    assert "mlflow.parentRunId" not in run.data.tags
    assert artifacts(tracker, run) == {
        "metrics.json": (tmp_path / "7" / "metrics.json").read_bytes()
    }


@pytest.mark.parametrize(("status", "theirs"), [("failed", "FAILED"), ("infeasible", "KILLED")])
def test_a_run_without_figures_says_why(
    status: str, theirs: str, tracker: MlflowTracker, tmp_path: Path
) -> None:
    record = make_failed("x" * 501, status=status)
    log(tracker, record, tmp_path / "run", tmp_path / "run")
    (run,) = runs(tracker)
    assert run.info.status == theirs
    assert run.data.tags["status"] == status
    assert run.data.tags["error"] == "x" * 499 + "…"
    assert run.data.metrics == {"seconds": 1.5}


def test_the_runs_of_a_sweep_are_children_of_one_with_the_report(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    for name in ("0", "1"):
        log(tracker, make_record(), tmp_path / name, tmp_path)
    for name in ("results.csv", "report.html", "pareto.png", "study.db", "multirun.yaml"):
        (tmp_path / name).write_text(name)
    tracker.log_report(tmp_path)
    found = {run.info.run_name: run for run in runs(tracker)}
    parent = found.pop(f"{tmp_path.parent.name}/{tmp_path.name}")
    assert [run.data.tags["mlflow.parentRunId"] for run in found.values()] == [
        parent.info.run_id
    ] * 2
    assert parent.info.status == "FINISHED"
    assert artifacts(tracker, parent) == {
        name: name.encode() for name in ("results.csv", "report.html", "pareto.png")
    }


def test_a_sweep_that_goes_on_elsewhere_gets_another_parent(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    (tmp_path / "mlflow-parent.txt").write_text("http://gone 123\n")
    tracker.log_report(tmp_path)
    (parent,) = runs(tracker)
    tracker.log_report(tmp_path)
    assert [run.info.run_id for run in runs(tracker)] == [parent.info.run_id]


def test_many_and_strange_settings_are_all_logged(tracker: MlflowTracker, tmp_path: Path) -> None:
    steps = {f"step/{number},": {"on": True} for number in range(250)}
    record = make_record(config={"pruner": {"steps": steps, "none": {}, "order": ["a", "b"]}})
    log(tracker, record, tmp_path / "run", tmp_path / "run")
    (run,) = runs(tracker)
    assert len(run.data.params) == 252
    assert run.data.params["pruner.none"] == "{}"
    assert run.data.params["pruner.order"] == "['a', 'b']"
    assert run.data.params["pruner.steps.step_249_.on"] == "True"


@pytest.mark.parametrize(
    ("params", "clean"),
    [
        ({"a.b-c d": "1"}, {"a.b-c d": "1"}),
        ({"a/b": "1", "a:b": "2", "a_b": "3"}, {"a_b": "1", "a_b_2": "2", "a_b_3": "3"}),
        ({"k" * 300: "v" * 500}, {"k" * 246: "v" * 500}),
        ({"k": "v" * 501}, {"k": "v" * 499 + "…"}),
    ],
)
def test_names_are_made_ones_that_mlflow_takes(
    params: dict[str, str], clean: dict[str, str]
) -> None:
    assert clean_params(params) == clean


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uri": "http://me:secret@host"}, "must not contain a password"),
        (
            {"uri": "some/folder"},
            "server or a database, .*, got some/folder; a folder is",
        ),
        ({"uri": "file:///folder"}, "got file:///folder"),
        ({"experiment": ""}, "tracker.experiment must be a name, got nothing"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        replace(MlflowTracker(dir="x", uri=None, experiment="y"), **changes)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_without_the_package_it_is_refused(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package mlflow; .*compress\[mlflow\]"):
        tracker.check()


# Sends nothing, whatever it is asked to log: to try is an error. The loopback is none of its needs.
LOG_ALONE = """
import socket, sys
from pathlib import Path

def connect(*_):
    raise AssertionError("it reached for a network")

socket.socket.connect = socket.getaddrinfo = connect
from compress.records.schema import write_record
from compress.tracker.mlflow import MlflowTracker
from tests.records.test_schema import make_record

folder = Path(sys.argv[2])
folder.mkdir()
write_record(make_record(), folder)
MlflowTracker(dir=sys.argv[1], uri=None, experiment="new").log(make_record(), folder, folder.parent)
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None, "telemetry is off"
"""


def alone(store: Path, folder: Path) -> subprocess.Popen[str]:
    """A process that logs a run, in an environment that does not look like that of a test."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.Popen(
        [sys.executable, "-c", LOG_ALONE, str(store), str(folder)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_nothing_is_sent(store: Path, tmp_path: Path) -> None:
    process = alone(store, tmp_path / "run")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


@pytest.mark.slow
def test_processes_that_begin_at_once_share_a_new_folder(tmp_path: Path) -> None:
    processes = [alone(tmp_path / "mlflow", tmp_path / str(number)) for number in range(4)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    found = runs(MlflowTracker(dir=str(tmp_path / "mlflow"), uri=None, experiment="new"))
    assert len(found) == 5, "four and the one of their sweep"
    assert len({run.data.tags.get("mlflow.parentRunId") for run in found}) == 2
