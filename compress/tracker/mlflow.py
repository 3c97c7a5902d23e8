"""MLflow: settings, figures, curves and reports, in a folder or on a server.

Every run is one of MLflow's; the runs of a sweep are the children of one that has the report.
MLflow 3 takes no plain folder of files any more, so the folder holds an SQLite database. Its client
of `mlflow-skinny` is enough for that, with SQLAlchemy and Alembic, which Optuna brings.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit

from filelock import FileLock
from pydantic.dataclasses import dataclass

from compress.config.compose import dotted
from compress.config.errors import ConfigError
from compress.records.curve import curves
from compress.records.recipe import recipe
from compress.records.schema import FILE, FinishedRun, RunRecord
from compress.system.files import new_sqlite_url, write_atomically
from compress.system.packages import require
from compress.tracker.components.figures import figures
from compress.tracker.components.tracking import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATUS = {"ok": "FINISHED", "failed": "FAILED", "infeasible": "KILLED"}
# Of a sweep's folder: the run in MLflow that its runs are children of. And what is in its report.
PARENT, LOCK = "mlflow-parent.txt", ".lock-mlflow"
REPORT = (".csv", ".parquet", ".md", ".tex", ".html", ".png", ".svg")
# The least that a server may take: of MLflow before 2.8 for a value, of a request for the others.
VALUE_LENGTH, KEY_LENGTH, PARAMS, METRICS = 500, 250, 100, 500
# An hour of Hydra's patience is no use when a server is gone: MLflow would try for four minutes.
RETRIES = "2"


@final
@dataclass(frozen=True, kw_only=True)
class MlflowTracker(Tracker):
    """Logs runs to MLflow when they have ended.

    Attributes:
        dir: folder of the database and the artifacts without a `uri`.
        uri: URI of an MLflow server or database; null for `dir`. User name and password are read
            from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
        experiment: name of the MLflow experiment, created if absent.
    """

    dir: str
    uri: str | None
    experiment: str

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: the uri has a password in it, or is of a folder; or there is no experiment.
        """
        super().__post_init__()
        parts = urlsplit(self.uri or "sqlite:")
        if parts.password is not None:
            raise ConfigError(
                "tracker.uri must not contain a password, because a config is recorded; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if parts.scheme in ("", "file"):
            raise ConfigError(
                "tracker.uri must be of a server or a database, such as http://127.0.0.1:5000, "
                f"got {self.uri}; a folder is tracker.dir"
            )
        if not self.experiment:
            raise ConfigError("tracker.experiment must be a name, got nothing")

    def check(self) -> None:
        """Raises a UserError if the package is not there."""
        require("tracker=mlflow", "mlflow", "mlflow")

    def log(self, record: RunRecord, folder: Path, shared: Path) -> None:
        """Makes a run of it, with metrics.json as an artifact."""
        began = int(datetime.datetime.fromisoformat(record.started).timestamp() * 1000)
        ended = began + int(record.seconds * 1000)
        tags = {"recipe": recipe(record), "status": record.status}
        if record.error is not None:
            tags["error"] = record.error
        tags = {key: shortened(value) for key, value in tags.items()}
        with self._session() as (client, experiment):
            if shared != folder:
                tags["mlflow.parentRunId"] = self._parent(client, experiment, shared)
            made = client.create_run(experiment, began, tags, f"{folder.name}: {tags['recipe']}")
            run = made.info.run_id
            params, metrics = _params(record), list(_metrics(record, ended))
            for start in range(0, len(params), PARAMS):
                client.log_batch(run, params=params[start : start + PARAMS])
            for start in range(0, len(metrics), METRICS):
                client.log_batch(run, metrics=metrics[start : start + METRICS])
            client.log_artifact(run, str(folder / FILE))
            client.set_terminated(run, STATUS[record.status], ended)

    def log_report(self, shared: Path) -> None:
        """Hands the tables, plots and pages in a sweep's folder to the sweep's run."""
        with self._session() as (client, experiment):
            parent = self._parent(client, experiment, shared)
            for path in sorted(shared.iterdir()):
                if path.suffix in REPORT and path.is_file():
                    client.log_artifact(parent, str(path))
            client.set_terminated(parent)

    @contextmanager
    def _session(self) -> Iterator[tuple[MlflowClient, str]]:
        """A client and the experiment's id; meanwhile no other process writes to the folder."""
        alone: AbstractContextManager[Any] = nullcontext()
        if self.uri is None:
            self._folder().mkdir(parents=True, exist_ok=True)
            alone = FileLock(self._folder() / LOCK)  # SQLite takes one writer at a time
        with alone:
            client = self._client()
            yield client, self._experiment(client)

    def _client(self) -> MlflowClient:
        # MLflow reads these when it is imported: it would send how it is used.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient

        return MlflowClient(self.uri or new_sqlite_url(self._folder() / "mlflow.db"))

    def _folder(self) -> Path:
        return Path(self.dir).absolute()

    def _experiment(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            place = None if self.uri else (self._folder() / "artifacts").as_uri()
            try:
                return str(client.create_experiment(self.experiment, place))
            except MlflowException:
                # Another process may have made it just now.
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _parent(self, client: MlflowClient, experiment: str, shared: Path) -> str:
        """The id of a sweep's run, which is made for the first of its runs."""
        path = shared / PARENT
        with FileLock(shared / LOCK):
            place = self.uri or str(self._folder())
            if path.is_file():
                known, _, run = path.read_text().strip().rpartition(" ")
                if known == place:
                    return run
            made = client.create_run(experiment, run_name=f"{shared.parent.name}/{shared.name}")
            write_atomically(path, f"{place} {made.info.run_id}\n")
            return str(made.info.run_id)


def shortened(value: str) -> str:
    """A value that every server takes; one that was longer ends in "…"."""
    return value if len(value) <= VALUE_LENGTH else f"{value[: VALUE_LENGTH - 1]}…"


def clean_params(params: Mapping[str, str]) -> dict[str, str]:
    """The same with names and values that MLflow takes; names that become equal are numbered."""
    clean: dict[str, str] = {}
    for name, value in params.items():
        key = plain = re.sub(r"[^\w.\- ]", "_", name)[: KEY_LENGTH - 4]
        number = 2
        while key in clean:
            key, number = f"{plain}_{number}", number + 1
        clean[key] = shortened(value)
    return clean


def _params(record: RunRecord) -> list[Any]:
    """Every setting of the config by its dotted name."""
    from mlflow.entities import Param

    params = clean_params(dict(dotted(record.config)))
    return [Param(key, value) for key, value in params.items()]


def _metrics(record: RunRecord, milliseconds: int) -> Iterator[Any]:
    """The figures, and every point of the curves at its step."""
    from mlflow.entities import Metric

    for name, value in figures(record).items():
        yield Metric(name, value, milliseconds, 0)
    history = record.history if isinstance(record, FinishedRun) else ()
    for training, points in curves(history):
        for point in points:
            losses = {"loss": point.loss, "validation_loss": point.validation_loss}
            for name, loss in losses.items():
                if loss is not None:
                    yield Metric(f"{name}/{training}", loss, milliseconds, point.step)
