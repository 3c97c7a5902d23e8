"""Measures the saved models of a sweep again, on this machine, without compressing again."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from compress.build import check_shapes
from compress.config.compose import (
    CONF,
    check_groups,
    chosen,
    group_config,
    merged,
    override_keys,
    recalled,
    recorded_part,
    settings_in,
    without_targets,
)
from compress.config.construct import construct
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, Device, Task, TaskData
from compress.job import now, recorded
from compress.measure.environment import environment
from compress.measure.run import MeasureContext, measure
from compress.measure.sparsity import check_history
from compress.pipeline import data_record
from compress.records.collect import Collection
from compress.records.schema import FILE, FinishedRun, RunStart, read_record
from compress.serve.folder import MANIFEST, read_manifest, read_spec
from compress.stage.stages import load_measured
from compress.store.artifact import read_architecture
from compress.system.digests import file_digest

DEVICE = "device"


@dataclass(frozen=True)
class Saved:
    """A run whose model lies on disk, and what to measure it on now.

    Attributes:
        folder: of the run.
        record: with the settings of the device to measure on in the place of the old ones.
    """

    folder: Path
    record: FinishedRun
    device: Device

    @property
    def model(self) -> Path:
        """The compressed model's folder."""
        return self.folder / str(self.record.model)

    @property
    def baseline(self) -> Path:
        """The baseline's folder."""
        return self.folder / str(self.record.baseline_model)


class MemoryStore:
    """Keeps tensors for as long as it lives: a `TensorStore` without a disk."""

    def __init__(self) -> None:
        """An empty store."""
        self._kept: dict[str, dict[str, Tensor]] = {}

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors made of these inputs, now or earlier."""
        key = json.dumps([name, dict(inputs)], sort_keys=True)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


@dataclass(frozen=True)
class Bench:
    """Measures saved models; what several of them share is loaded once.

    Attributes:
        out: a new folder for the records.
    """

    out: Path
    tasks: dict[str, TaskData] = field(default_factory=dict)
    stores: dict[str, MemoryStore] = field(default_factory=lambda: defaultdict(MemoryStore))

    def measure_again(self, saved: Saved, folder: Path) -> None:
        """Writes a new record of a saved model into a folder, which is made."""
        folder.mkdir(parents=True)
        known = {each.name: getattr(saved.record, each.name) for each in fields(RunStart)}
        start = RunStart(**{**known, "started": now()})
        _, error = recorded(start, folder, partial(self._measured, saved, folder))
        if error is not None and not isinstance(error, Exception):
            raise error

    def _measured(self, saved: Saved, folder: Path, start: RunStart) -> FinishedRun:
        device = saved.device
        with device.session():
            surroundings = environment(device)
            data = self._data(start)
            candidate = load_measured(saved.model, device)
            check_history(read_manifest(saved.model).history, candidate.model.weights())
            digest = file_digest(saved.baseline / MANIFEST)
            baseline = load_measured(saved.baseline, device, digest)
            shape = read_architecture(saved.baseline)
            data = data.tokenized(CompressedModel(shape, baseline.model.tokenizer, ()))
            store = self.stores[device.torch_device]
            seed, name = start.seed or 0, os.path.relpath(folder, self.out)
            how = MeasureContext(device, seed, store, self.out, name)
            measured = measure(candidate, baseline, data, how)
            return FinishedRun(
                **vars(start),
                environment=surroundings,
                history=saved.record.history,
                model=os.path.relpath(saved.model, folder),
                baseline_model=os.path.relpath(saved.baseline, folder),
                data=replace(
                    data_record(data, baseline.model.tokenizer),
                    transfer=saved.record.data.transfer,
                ),
                **measured.fields(),
            )

    def _data(self, record: RunStart) -> TaskData:
        """The rows of the record's task, read once; without transfer text, as nothing learns."""
        key = json.dumps(record.config["task"], sort_keys=True)
        if key not in self.tasks:
            part = recorded_part(CONF, "task", record.choices["task"], record.config["task"])
            task: Task = construct(OmegaConf.create({"task": part}), "task", Task)
            task.check()
            self.tasks[key] = task.load()
        return self.tasks[key]


def find_saved(collection: Collection, overrides: Sequence[str]) -> tuple[list[Saved], list[str]]:
    """The runs that can be measured again; nothing is measured or loaded yet.

    Args:
        collection: what lies in the sweep's folder.
        overrides: what is to differ from the device of the records: `device=…`, `device.…=…`.

    Returns:
        The runs; and for each record that cannot be read, or does not say how to measure, why.

    Raises:
        UserError: no run succeeded, a baseline is missing, or the device does not go with a model.
    """
    check_groups(overrides, [DEVICE])
    if settings_in(overrides, f"{DEVICE}.runtime"):
        raise ConfigError("device.runtime shapes an export, and models are measured as they are")
    found, broken = [], list(collection.broken)
    if not collection.ok:
        words = ["no run succeeded, so there is nothing to measure", *broken]
        raise UserError("; ".join(words))
    refused: Exception | None = None
    for folder, record in _single(collection.ok, broken):
        reason = _unplaced(record)
        if not reason:
            try:
                saved = Saved(folder, *_placed(record, overrides))
                _check_runtime(saved)
                found.append(saved)
                continue
            except (HydraException, OmegaConfBaseException) as error:
                reason, refused = " ".join(str(error).split()), refused or error
        broken.append(f"{folder / FILE}: {reason}")
    if not found and refused is not None:
        raise refused  # it fits none of them, so it is most likely of what was asked for
    if not found:
        raise UserError(f"no record says how to measure its model: {'; '.join(broken)}")
    for baseline, device in {(each.baseline.resolve(), each.device) for each in found}:
        read_manifest(baseline)
        check_shapes(device, read_architecture(baseline), "teacher")
    return found, broken


def _single(
    runs: Iterable[tuple[Path, FinishedRun]], broken: list[str]
) -> Iterator[tuple[Path, FinishedRun]]:
    """The runs that made one model; the folds in the place of those that have some.

    Args:
        runs: that succeeded.
        broken: receives the folds whose records cannot be read.
    """
    for folder, record in runs:
        if record.folds is None:
            yield folder, record
            continue
        for name in record.folds.folders:
            try:
                fold = read_record(folder / name / FILE)
            except UserError as error:
                broken.append(str(error))
                continue
            if fold.status == "ok":
                yield folder / name, fold
            else:
                broken.append(f"{folder / name / FILE}: {fold.error}")


def _unplaced(record: FinishedRun) -> str:
    """Why a record does not say what to measure on; "" if it does."""
    runtime = record.settings(DEVICE).get("runtime")
    if DEVICE not in record.choices or not record.settings("task"):
        return "it names no device or no task"
    if not isinstance(runtime, Mapping):
        return "it names no runtime of its device"
    return ""


def _placed(record: FinishedRun, overrides: Sequence[str]) -> tuple[FinishedRun, Device]:
    """The record with the settings of the device to measure on, and the device."""
    before = dict(record.config[DEVICE])
    runtime = before.pop("runtime")
    choice = chosen(overrides, DEVICE) or record.choices[DEVICE]
    default = group_config(CONF, DEVICE, choice)
    settings = merged(recalled(DEVICE, default, before), settings_in(overrides, DEVICE))
    part = group_config(CONF, DEVICE, choice, settings)
    # The runtime's settings are in the artifact.
    for name, value in without_targets(runtime).items():
        if name in part.runtime:
            part.runtime[name] = value
    device: Device = construct(OmegaConf.create({DEVICE: part}), DEVICE, Device)
    device.check()
    others = [
        words
        for words in record.overrides
        if all(key.partition(".")[0] != DEVICE for key in override_keys([words]))
    ]
    placed = replace(
        record,
        choices={**record.choices, DEVICE: choice},
        overrides=(*others, f"{DEVICE}={choice}", *settings),
        config={
            **record.config,
            DEVICE: without_targets(OmegaConf.to_container(part, resolve=True)),
        },
    )
    return placed, device


def _check_runtime(saved: Saved) -> None:
    """Refuses a device with another runtime than the model's own, naming those that go with it."""
    try:
        own = read_spec(saved.model).runtime
    except UserError:
        return  # a damaged model fails alone, when it is loaded
    got = saved.device.runtime.kind
    if got == own:
        return
    allowed = []
    for path in sorted((CONF / DEVICE).glob("*.yaml")):
        part = OmegaConf.create({DEVICE: group_config(CONF, DEVICE, path.stem)})
        if construct(part, DEVICE, Device).runtime.kind == own:
            allowed.append(path.stem)
    raise ConfigError(
        f"device={saved.record.choices[DEVICE]} runs {got}, {saved.model} was exported for {own}; "
        f"allowed: {', '.join(allowed)}"
    )
