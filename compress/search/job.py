"""The worker process of a search: runs one trial after the other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from compress.config.blame import Blame, blame, blamed
from compress.config.ending import one_line
from compress.core.monitor import Stopped
from compress.records.schema import FILE
from compress.search.reporter import JobSpec, Rejection, Reporter
from compress.store.run_folder import RUN, locked_folder

OUTPUT = "output.log"
PRELOAD = (
    "compress.build",
    "compress.pipeline",
    "compress.training.train",
    "compress.search.job",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",  # Hydra imports all of its plugins
)


@dataclass(frozen=True)
class Setup:
    """What a worker needs to compose and run jobs.

    Attributes:
        config: of the sweep.
        task: runs a composed config with a `monitor`; importable by its name.
        preload: modules that every trial needs, imported once by the server that forks workers.
    """

    context: HydraContext
    config: DictConfig
    task: Callable[..., Any]
    preload: tuple[str, ...] = PRELOAD


@dataclass(frozen=True)
class Outcome:
    """How a job ended, in addition to its record.

    Attributes:
        error: message of what it raised; also in the record if the config could be composed.
        blame: config groups that caused the error; see `compress.config.blame`.
        stopped: whether it ended at the driver's request.
    """

    error: str | None = None
    blame: Blame = ()
    rejection: Rejection | None = None
    stopped: bool = False


def serve(connection: Connection, setup: Setup, place: int) -> None:
    """Runs the trials that the driver sends, until it sends None or is gone.

    The worker's `place`, its index from 0, selects its GPU.
    """
    # A separate process group: the driver can pause or kill it with all its children, and the
    # terminal's Ctrl-C reaches only the driver.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(gpu_environment(place, os.environ))
    setup_globals()
    Plugins.instance()
    JobRuntime.instance().set("name", setup.config.hydra.job.name)
    connection.send(("ready", None))
    try:
        while (spec := connection.recv()) is not None:
            # Anything else is a late message for the previous trial.
            if isinstance(spec, JobSpec):
                connection.send(("done", _run(spec, setup, connection)))
    except (EOFError, OSError):
        return


def gpu_environment(place: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment that gives a worker one of several GPUs; empty for fewer than two.

    Workers share GPUs if there are fewer of those; CUDA_VISIBLE_DEVICES limits them.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        import torch

        devices = [str(number) for number in range(torch.cuda.device_count())]
    else:
        devices = [device for device in named.split(",") if device.strip()]
    if len(devices) < 2:
        return {}
    return {"CUDA_VISIBLE_DEVICES": devices[place % len(devices)]}


def _run(spec: JobSpec, setup: Setup, connection: Connection) -> Outcome:
    """Runs a trial. Its errors are also in its record."""
    reporter = Reporter(connection, spec)
    error: BaseException | None = None
    try:
        config = _job_config(spec, setup)
        folder = Path(config.hydra.sweep.dir) / str(spec.number)
        with blame("hydra"):
            folder.mkdir(parents=True)
        with locked_folder(folder, RUN):
            _redirect_output(folder / OUTPUT)
            done = run_job(
                hydra_context=setup.context,
                task_function=partial(setup.task, monitor=reporter),
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        _ = done.return_value  # raises what the task raised
    except Stopped:
        # The trial will be run again under another number: its record is not a result.
        (folder / FILE).unlink(missing_ok=True)
        return Outcome(stopped=True)
    except BaseException as raised:
        error = raised
    if error is None:
        return Outcome(rejection=reporter.rejection)
    return Outcome(one_line(error), blamed(error), reporter.rejection)


def _job_config(spec: JobSpec, setup: Setup) -> DictConfig:
    """One job's config, as Hydra's launchers compose it."""
    overrides = [*spec.overrides, f"hydra.sweep.subdir={spec.number}"]
    config = setup.context.config_loader.load_sweep_config(setup.config, overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(spec.number), spec.number
    return config


def _redirect_output(path: Path) -> None:
    """Redirects the output of the process to a file: the terminal belongs to the driver."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
