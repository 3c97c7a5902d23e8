"""Puts one saved model into every format that every runtime here has, and measures each.

A pair such as "cpu/int8_dynamic", of a choice of device, which has a runtime, and one of quantizer,
which is a format, goes through the ordinary pipeline, with the model as its teacher and baseline,
so that the same code exports and measures as in `run.py`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from compress.build import build_run
from compress.config.compose import (
    CONF,
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
from compress.records.schema import FILE, RunRecord, RunStart, read_record
from compress.stage.run import Run
from compress.teacher.artifact import ArtifactTeacher


@dataclass(frozen=True)
class Attempt:
    """A pair that this machine supports, and what is known of its run before it starts."""

    pair: str
    run: Run
    start: RunStart


def find_pairs(patterns: Sequence[str]) -> list[str]:
    """Every pair that fits one of the globs, such as "cpu/*"; all pairs if there are none.

    Raises:
        ConfigError: a pattern fits no pair.
    """
    devices, quantizers = (
        sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        for group in ("device", "quantizer")
    )
    pairs = [f"{device}/{quantizer}" for device in devices for quantizer in quantizers]
    wanted: set[str] = set()
    for pattern in patterns:
        if not (fitting := fnmatch.filter(pairs, pattern)):
            raise ConfigError(
                f"--only {pattern} matches no device/quantizer; devices are {', '.join(devices)}, "
                f"quantizers {', '.join(quantizers)}"
            )
        wanted.update(fitting)
    return [pair for pair in pairs if pair in wanted] if patterns else pairs


def make_attempts(
    folder: Path, pairs: Iterable[str], overrides: Sequence[str]
) -> tuple[list[Attempt], dict[str, str]]:
    """Builds the run of each pair; nothing is loaded yet.

    Args:
        folder: a compress model folder with float torch weights.
        pairs: what to try.
        overrides: of task, device, cache and seed; before them counts the record of the run that
            made the model, where it lies beside the folder.

    Returns:
        What can be tried, and why not for each pair that cannot.

    Raises:
        UserError: the model cannot be probed, or no task is named.
    """
    check_groups(overrides, ("task", "device", "cache", "seed"))
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
            attempts.append(_attempt(folder, pair, record, overrides))
        except (UserError, HydraException, OmegaConfBaseException) as error:
            refused[pair] = one_line(error)
    return attempts, refused


def run_attempts(attempts: Iterable[Attempt], out: Path) -> Iterator[tuple[Attempt, RunRecord]]:
    """Executes each attempt in a folder of its own; one that breaks costs no other."""
    for attempt in attempts:
        folder = out / attempt.pair.replace("/", "-")
        folder.mkdir(parents=True)
        record, error = recorded(attempt.start, folder, partial(execute, attempt.run, folder, out))
        if error is not None and not isinstance(error, Exception):
            raise error
        yield attempt, record


def _attempt(
    folder: Path, pair: str, record: RunRecord | None, overrides: Sequence[str]
) -> Attempt:
    device, quantizer = pair.split("/")
    words = [
        *("teacher=artifact", f"teacher.folder={literal(str(folder))}"),
        *("student=none", "pruner=none", f"device={device}", f"quantizer={quantizer}"),
        "controls=never",
        *merged([] if record is None else _recalled(record, device), overrides),
    ]
    cfg, choices = compose_with_choices(CONF, words)
    run = build_run(cfg)
    # Formats that train do so in prepare().
    if type(run.quantizer).prepare is not Quantizer.prepare:
        raise UserError("it trains, and a probe only measures")
    start = replace(blank_record(cfg, choices, tuple(words)), knobs=run.knobs())
    return Attempt(pair, run, start)


def _recalled(record: RunRecord, device: str) -> list[str]:
    """The task, the seed and the device's settings, but for its runtime's, of a record."""
    choice = record.choices["task"]
    task = recalled("task", group_config(CONF, "task", choice), record.config["task"])
    before = {key: value for key, value in record.config["device"].items() if key != "runtime"}
    settings = recalled("device", group_config(CONF, "device", device), before)
    return [f"seed={record.seed}", f"task={choice}", *task, *settings]
