"""Puts one saved model into every format that every runtime here has, and measures each.

A (device, quantizer) pair goes through the ordinary pipeline, with the model as its teacher and
baseline, so that the same code exports and measures as in `run.py`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from compress.build import build_run
from compress.config.compose import (
    check_groups,
    chosen,
    compose_with_choices,
    group_config,
    literal,
    merged,
    recalled,
)
from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError
from compress.interfaces import Quantizer
from compress.job import blank_record, recorded
from compress.pipeline import execute
from compress.records.schema import FILE, FinishedRun, RunRecord, RunStart, read_record
from compress.stage.run import Run
from compress.teacher.artifact import ArtifactTeacher

ALLOWED = ("task", "device", "cache", "seed")
TRAINS = "it trains, and a probe only measures"


@dataclass(frozen=True, order=True)
class Pair:
    """A choice of device, which has a runtime, and a choice of quantizer, which is a format."""

    device: str
    quantizer: str

    def __str__(self) -> str:
        """As `--only` takes it."""
        return f"{self.device}/{self.quantizer}"


@dataclass(frozen=True)
class Attempt:
    """A pair that this machine supports.

    Attributes:
        start: what is known of the run before it starts.
    """

    pair: Pair
    run: Run
    start: RunStart


@dataclass(frozen=True)
class Plan:
    """What is to be tried.

    Attributes:
        refused: why not, for each pair that is not tried.
    """

    attempts: tuple[Attempt, ...]
    refused: dict[Pair, str]


def find_pairs(conf: Path, patterns: Sequence[str]) -> list[Pair]:
    """Every pair of the choices that there are, found by glob.

    Args:
        conf: the folder of config.yaml.
        patterns: such as "cpu/*"; none for all pairs.

    Raises:
        ConfigError: a pattern fits no pair.
    """
    devices, quantizers = (
        sorted(path.stem for path in (conf / group).glob("*.yaml"))
        for group in ("device", "quantizer")
    )
    pairs = [Pair(device, quantizer) for device in devices for quantizer in quantizers]
    for pattern in patterns:
        if not fnmatch.filter([str(pair) for pair in pairs], pattern):
            raise ConfigError(
                f"--only {pattern} matches no device/quantizer; devices are {', '.join(devices)}, "
                f"quantizers {', '.join(quantizers)}"
            )
    wanted = patterns or ["*"]
    return [p for p in pairs if any(fnmatch.fnmatchcase(str(p), pattern) for pattern in wanted)]


def make_plan(folder: Path, conf: Path, pairs: Iterable[Pair], overrides: Sequence[str]) -> Plan:
    """Builds the run of each pair; nothing is loaded yet.

    Args:
        folder: a compress model folder with float torch weights.
        conf: the folder of config.yaml.
        pairs: what to try.
        overrides: of task, device, cache and seed; before them counts the record of the run that
            made the model, where it lies beside the folder.

    Raises:
        UserError: the model cannot be probed, or no task is named.
    """
    check_groups(overrides, ALLOWED)
    if chosen(overrides, "device"):
        raise ConfigError("a probe tries every device; choose among them with --only")
    ArtifactTeacher(folder=str(folder)).check()
    path = folder.parent / FILE
    record = read_record(path) if path.is_file() else None
    if record is None and chosen(overrides, "task") is None:
        raise UserError(f"{path} does not exist, so no task is known; name one with task=…")
    attempts, refused = [], {}
    for pair in pairs:
        try:
            attempts.append(_attempt(folder, conf, pair, record, overrides))
        except (UserError, HydraException, OmegaConfBaseException) as error:
            refused[pair] = one_line(error)
    return Plan(tuple(attempts), refused)


def run_attempts(plan: Plan, out: Path) -> Iterator[tuple[Attempt, RunRecord]]:
    """Executes each attempt in a folder of its own; one that breaks costs no other."""
    for attempt in plan.attempts:
        folder = out / str(attempt.pair).replace("/", "-")
        folder.mkdir(parents=True)

        def work(start: RunStart, run: Run = attempt.run, folder: Path = folder) -> FinishedRun:
            return execute(run, folder, out, start)

        record, error = recorded(attempt.start, folder, work)
        if error is not None and not isinstance(error, Exception):
            raise error
        yield attempt, record


def _attempt(
    folder: Path, conf: Path, pair: Pair, record: RunRecord | None, overrides: Sequence[str]
) -> Attempt:
    """The run of one pair; a UserError if it is not supported here."""
    words = [
        *("teacher=artifact", f"teacher.folder={literal(str(folder))}"),
        *("student=none", "pruner=none"),
        *(f"device={pair.device}", f"quantizer={pair.quantizer}"),
        *merged(_recalled(record, conf, pair.device), overrides),
    ]
    cfg, choices = compose_with_choices(conf, words)
    run = build_run(cfg)
    # Formats that train do so in prepare().
    if type(run.quantizer).prepare is not Quantizer.prepare:
        raise UserError(TRAINS)
    start = replace(blank_record(cfg, choices, tuple(words)), knobs=run.knobs())
    return Attempt(pair, run, start)


def _recalled(record: RunRecord | None, conf: Path, device: str) -> list[str]:
    """The task, the seed and the device's settings, but for its runtime's, of a record."""
    if record is None:
        return []
    choice = record.choices["task"]
    task = recalled("task", group_config(conf, "task", choice), record.config["task"])
    before = {key: value for key, value in record.config["device"].items() if key != "runtime"}
    settings = recalled("device", group_config(conf, "device", device), before)
    return [f"seed={record.seed}", f"task={choice}", *task, *settings]
