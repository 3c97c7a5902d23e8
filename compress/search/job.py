"""The inside of a search's worker: a warm process that runs one trial after the other."""

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
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",  # Hydra looks at all of its plugins
)


@dataclass(frozen=True)
class Setup:
    """What a worker needs to compose and run jobs.

    Attributes:
        context: Hydra's, with its config loader.
        config: as the sweep composed it.
        task: what runs a composed config, with the `monitor` that watches; importable by its name.
        preload: modules that every trial needs: the server that workers are forked from imports
            them once.
    """

    context: HydraContext
    config: DictConfig
    task: Callable[..., Any]
    preload: tuple[str, ...] = PRELOAD


@dataclass(frozen=True)
class Outcome:
    """How a job ended, beside what its record says.

    Attributes:
        error: what it raised; a job that could be composed has it in its record as well.
        blame: whose fault that is, as far as it is known; see `compress.config.blame`.
        stopped: whether it ended because it was asked to.
    """

    error: str | None = None
    blame: Blame = ()
    rejection: Rejection | None = None
    stopped: bool = False


def serve(connection: Connection, setup: Setup, place: int) -> None:
    """Runs the trials that the driver sends, until it sends None or is gone.

    Args:
        connection: to the driver.
        setup: how to compose and run them.
        place: the worker's, from 0; says which GPU is its own.
    """
    # A group of its own, so that the driver can hold or kill it with all its children; and the
    # terminal's Ctrl-C goes to the driver alone.
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
    """The setting that gives a worker one GPU where there are several; none otherwise.

    Args:
        place: the worker's, from 0; several share a GPU if there are fewer of these.
        environment: in which CUDA_VISIBLE_DEVICES may say which GPUs may be used.
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
    """Runs a trial. What goes wrong in it is in its record."""
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
        # The trial will be run again under another number: what it says of itself is no result.
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
    """Has all that the process prints go to a file: the terminal is the driver's."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
