"""The inside of a search's worker: a warm process that runs one trial after the other."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from compress.cli import one_line
from compress.monitor import Forecast, Monitor, Rejected, Stopped, watched
from compress.records import FILE
from compress.scores import SCORES
from compress.search.goals import QUALITY, Constraint
from compress.search.limits import EarlyLook

OUTPUT = "output.log"
PRELOAD = (
    "compress.build",
    "compress.pipeline",
    "compress.train",
    "compress.search.job",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",  # Hydra looks at all of its plugins
)
LOOKED = ("student", "pruner")  # the stages in which an early look says something
STEP_SECONDS = 0.2  # between two reports of steps
# What a forecast says of a metric: exactly that, or at least that.
FORESEEN: Mapping[str, Callable[[Forecast], int | None]] = {
    "parameters": lambda forecast: forecast.parameters,
    "size_bytes": lambda forecast: forecast.least_bytes,
}


@dataclass(frozen=True)
class Setup:
    """What a worker needs to compose and run jobs.

    Attributes:
        context: Hydra's, with its config loader.
        config: as the sweep composed it.
        task: what runs a composed config; importable by its name.
        preload: modules that every trial needs: the server that workers are forked from imports
            them once.
    """

    context: HydraContext
    config: DictConfig
    task: Callable[[DictConfig], Any]
    preload: tuple[str, ...] = PRELOAD


@dataclass(frozen=True)
class Order:
    """A trial to run.

    Attributes:
        number: the trial's, and its folder's name.
        overrides: what the job is composed of.
        constraints: that a forecast can break.
        baseline: its figures by metric, as far as they are known by now.
        look: at models in training; null for none.
    """

    number: int
    overrides: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    look: EarlyLook | None = None


@dataclass(frozen=True)
class Rejection:
    """Why a trial was not finished, and how far it would have been beyond which constraints."""

    reason: str
    excesses: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a job ended, beside what its record says.

    Attributes:
        error: what it raised; a job that could be composed has it in its record as well.
        stopped: whether it ended because it was asked to.
    """

    error: str | None = None
    rejection: Rejection | None = None
    stopped: bool = False


class Reporter(Monitor):
    """Tells the driver of a run, and asks it for quiet."""

    def __init__(self, connection: Connection, order: Order) -> None:
        """Reports on one trial."""
        self._connection, self._order = connection, order
        self._reported = 0.0
        self._stage, self._seen = "", False
        self.rejection: Rejection | None = None

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Rejects what is sure to break a constraint."""
        broken: dict[str, float] = {}
        words = []
        foreseen = None
        for each in self._order.constraints:
            # A bound from above is broken for sure by what the model has at least.
            if each.least or each.metric not in FORESEEN:
                continue
            if not self._knows(each):
                continue
            foreseen = foreseen or forecast()
            least = FORESEEN[each.metric](foreseen)
            baseline = self._order.baseline.get(each.metric, 0.0)
            if least is not None and (excess := each.excess(least, baseline)) > 0:
                broken[f"{each.metric} {each}"] = excess
                words.append(f"{each.metric} would be {least:,} or more, allowed is {each}")
        self._reject(broken, "; ".join(words))

    def stage(self, name: str) -> None:
        """Reports it, and ends the run if the driver wants that."""
        self._stage, self._seen = name, False
        self._connection.send(("stage", name))
        while self._connection.poll():
            self._obey(self._connection.recv())

    def step(self, done: int, steps: int) -> None:
        """Reports it now and then."""
        now = time.monotonic()
        if now - self._reported > STEP_SECONDS or done == steps:
            self._reported = now
            self._connection.send(("step", (done, steps)))

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Ends a trial whose score is too far from what is asked for; looks once a stage."""
        asked = self._order.look
        if asked is None or self._seen or self._stage not in LOOKED or done < asked.after * steps:
            return
        self._seen = True
        bounds = [each for each in self._order.constraints if _of_score(each) and self._knows(each)]
        if not bounds:
            return
        found = scores()
        broken: dict[str, float] = {}
        words = []
        # A score that is not taken in training is judged at the end alone.
        for each in (each for each in bounds if each.metric in found):
            baseline, value = self._order.baseline.get(each.metric, 0.0), found[each.metric]
            if each.excess(_hoped(each.metric, value, asked.margin), baseline) > 0:
                broken[f"{each.metric} {each}"] = each.excess(value, baseline)
                words.append(f"{each.metric} is {value:.3f}, too far from {each}")
        where = f"after {done} of {steps} steps in the {self._stage} stage "
        self._reject(broken, where + " and ".join(words))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Waits until the driver holds the other workers."""
        self._connection.send(("quiet", None))
        while (word := self._connection.recv()) != "go":
            self._obey(word)
        try:
            yield
        finally:
            self._connection.send(("loud", None))

    def _knows(self, bound: Constraint) -> bool:
        """Whether it is known by now what the bound is."""
        return not bound.factor or bound.metric in self._order.baseline

    def _reject(self, broken: Mapping[str, float], reason: str) -> None:
        """Ends the run if a bound is broken."""
        if broken:
            self.rejection = Rejection(reason, broken)
            raise Rejected(reason, broken)

    def _obey(self, word: object) -> None:
        if word == "stop":
            raise Stopped


def _of_score(bound: Constraint) -> bool:
    """Whether it says how bad a score may be."""
    kind = SCORES.get(bound.metric)
    if kind is None:
        return bound.metric == QUALITY and bound.least
    return bound.least == (kind.better == "higher")


def _hoped(metric: str, value: float, margin: float) -> float:
    """A score with its quality better by a margin."""
    return value + margin if metric == QUALITY else SCORES[metric].moved(value, margin)


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
    os.environ.update(own_gpu(place, os.environ))
    setup_globals()
    Plugins.instance()
    JobRuntime.instance().set("name", setup.config.hydra.job.name)
    connection.send(("ready", None))
    try:
        while (order := connection.recv()) is not None:
            # Else a word for the trial before, which had ended already.
            if isinstance(order, Order):
                connection.send(("done", _run(order, setup, connection)))
    except (EOFError, OSError):
        return


def own_gpu(place: int, environment: Mapping[str, str]) -> dict[str, str]:
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


def _run(order: Order, setup: Setup, connection: Connection) -> Outcome:
    """Runs a trial. What goes wrong in it is in its record."""
    reporter = Reporter(connection, order)
    error: BaseException | None = None
    try:
        config = _job_config(order, setup)
        folder = Path(config.hydra.sweep.dir) / str(order.number)
        folder.mkdir(parents=True, exist_ok=True)
        _redirect(folder / OUTPUT)
        with watched(reporter):
            done = run_job(
                hydra_context=setup.context,
                task_function=setup.task,
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
    return Outcome(error=None if error is None else one_line(error), rejection=reporter.rejection)


def _job_config(order: Order, setup: Setup) -> DictConfig:
    """One job's config, as Hydra's launchers compose it."""
    overrides = [*order.overrides, f"hydra.sweep.subdir={order.number}"]
    config = setup.context.config_loader.load_sweep_config(setup.config, overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(order.number), order.number
    return config


def _redirect(path: Path) -> None:
    """Has all that the process prints go to a file: the terminal is the driver's."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
