"""What was done to a model, in words and as the command that does it again."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from compress.config.legible import shortened, visible
from compress.records.schema import FinishedRun, RunRecord

STAGES = ("student", "pruner", "quantizer")
TRANSFER = "task/transfer"
INDEX = {"dimension": None, "vectors": "float32"}  # settings of tasks, where all is kept
NOTHING = "teacher as it is"
MISSING = object()
LONGEST_KNOB = 200  # characters of a setting in a recipe; the command that remakes a run has all
STEERING = ("search.", "experiment.cross=")  # of many runs
# Parts of a config that do not change what is made of a teacher.
BESIDE = (
    "seed", "cache", "tracker", "search", "experiment", "objectives", "measure_stages", "controls",
    "decision",
)  # fmt: skip


def recipe(record: RunRecord) -> str:
    """What was done to the teacher, in a few words: "wanda sparsity=0.5 + int8_dynamic".

    Transfer text is named after it, "layers keep=2, transfer reviews limit=1000", and the runtime
    unless it is torch: "… on openvino".
    """
    steps = filter(None, (_part(record, group, group) for group in STAGES))
    words, runtime = " + ".join(steps) or NOTHING, _runtime(record)
    if transfer := _part(record, TRANSFER, "task.transfer"):
        words += f", transfer {transfer}"
    if index := index_words(record):
        words += f", index {index}"
    return visible(words if runtime == "torch" else f"{words} on {runtime}")


def index_words(record: RunRecord) -> str:
    """What an index keeps of a vector, where it does not keep all; "" for all."""
    task = record.config.get("task")
    settings = task if isinstance(task, Mapping) else {}
    given = {name: settings.get(name) for name, whole in INDEX.items()
             if settings.get(name, whole) != whole}  # fmt: skip
    return " ".join(f"{name}={value}" for name, value in given.items())


def _part(record: RunRecord, group: str, key: str) -> str:
    """The choice of a group, with the settings under its key that tell it; "" for none."""
    choice = record.choices.get(group, "none")
    return "" if choice == "none" else " ".join([choice, *_knobs(record, group, key)])


def _runtime(record: RunRecord) -> str:
    """What ran the model; of a run that failed, what its device asked for: cpu_openvino."""
    if isinstance(record, FinishedRun):
        return record.metrics.runtime
    return record.choices.get("device", "").partition("_")[2] or "torch"


def _knobs(record: RunRecord, group: str, key: str) -> list[str]:
    """The settings that tell the group's choice from others, by the shortest names that do."""
    settings = functools.reduce(entry, key.split("."), record.config)
    settings = settings if isinstance(settings, Mapping) else {}
    knobs: dict[tuple[str, ...], Any] = {
        (name,): settings[name]
        for name in record.knobs.get(group, ())
        if settings.get(name) is not None
    }
    for override in record.overrides:
        name = override.lstrip("+").partition("=")[0]
        if name.startswith(f"{key}."):
            # From the config: the override has the command line's quotes and escapes.
            path = tuple(name.removeprefix(f"{key}.").split("."))
            knobs[path] = functools.reduce(entry, path, settings)
    known = {path: value for path, value in knobs.items() if value is not MISSING}
    return [f"{_name(path, known)}={_short(value)}" for path, value in known.items()]


def entry(settings: Any, name: str) -> Any:
    """A setting; `MISSING` where an override is of something that the config does not have."""
    return settings.get(name, MISSING) if isinstance(settings, Mapping) else MISSING


def _name(path: tuple[str, ...], paths: Iterable[tuple[str, ...]]) -> str:
    """The end of a path that is no other one's: "sparsity", or "heads.sparsity"."""
    others = [other for other in paths if other != path]
    lengths = range(1, len(path))
    unique = (n for n in lengths if all(other[-n:] != path[-n:] for other in others))
    return ".".join(path[-next(unique, len(path)) :])


def _short(value: object) -> str:
    """A search draws numbers with 16 digits; 4 tell its trials apart."""
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), LONGEST_KNOB)


def recipe_key(record: RunRecord, without: str | None = None) -> str:
    """What is equal in runs that differ in their seed alone, and different in all others.

    Args:
        record: of a run.
        without: a group that is left out, so that runs with other choices there are equal too.
    """
    left_out = {*BESIDE, without}
    config = {key: value for key, value in record.config.items() if key not in left_out}
    choices = {
        group: choice
        for group, choice in record.choices.items()
        if group.partition("/")[0] not in left_out
    }
    return json.dumps([choices, config], sort_keys=True, default=str)


def remake_command(record: RunRecord) -> str:
    """The command line that makes the model again, alone: what steers a sweep plays no part."""
    kept = (word for word in record.overrides if not word.startswith(STEERING))
    return shlex.join(["python", "run.py", *kept])
