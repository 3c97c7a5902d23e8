"""The controls of a sweep: what is trivially available, and what a compressed model must beat.

They are measured once for each teacher, set of rows, device and benchmark, by the run of the sweep
that comes first. The others wait for it and read what it found in the sweep's folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from compress.config.compose import CONF
from compress.config.construct import construct
from compress.config.ending import one_line
from compress.config.errors import UserError
from compress.interfaces import Device, Quantizer, StageContext, TaskData
from compress.measure.controls import Predictor, measure_predictor
from compress.measure.run import LoadedModel, MeasureContext, measure
from compress.measure.sharing import conditions, keyed_file
from compress.records.schema import Control
from compress.stage.pairs import check_pair
from compress.stage.stages import read_back, write
from compress.store.artifact import read_architecture
from compress.store.cache_root import lock_of
from compress.system.files import temporary_folder, write_atomically
from compress.system.packages import choice_name
from compress.training.tfidf import RECIPE, fit_tfidf, linear_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.stage.run import Run

log = logging.getLogger(__name__)

FILE = "controls-{}.json"
VERSION = 1  # raised whenever a control gives other figures than before
# The first one that runtime and model support: ranges found on the fly need no calibration, and
# weights alone save only bytes.
FORMATS = ("int8_dynamic", "int8_static", "int8_weight_only")
# Half of a small model's bytes are embeddings; some models have no plain table of them.
EMBEDDINGS = ("int8", "none")


def sweep_controls(
    run: Run, ctx: StageContext, data: TaskData, baseline: LoadedModel, how: MeasureContext
) -> tuple[Control, ...]:
    """The controls beside a baseline: from the sweep's folder, or measured now, if any."""
    if run.controls == "never":
        return ()
    path = keyed_file(how.shared, FILE, _key(how.device, baseline, data))
    adapter = TypeAdapter(tuple[Control, ...])
    # Held while a run waits for its turn to measure, so it is never asked for during a turn.
    with FileLock(lock_of(path)):
        if not path.is_file():
            ctx.monitor.stage("controls")
            log.info("controls: TF-IDF, and the teacher in int8 …")
            made = (_tfidf(data, baseline, how), _int8_teacher(ctx, data, baseline, how))
            write_atomically(path, adapter.dump_json(made, indent=1) + b"\n")
    return adapter.validate_json(path.read_bytes(), strict=True)


def int8_format(device: Device, teacher: PreTrainedModel) -> Quantizer:
    """The int8 format of the control: the first one that device and model support.

    Args:
        device: with the runtime.
        teacher: its skeleton.

    Raises:
        UserError: there is none; says why for each.
    """
    reasons = []
    for name in FORMATS:
        for embeddings in EMBEDDINGS:
            try:
                return _checked(_quantizer(name, embeddings), device, teacher)
            except UserError as error:
                reasons.append(one_line(error))
    raise UserError("; ".join(dict.fromkeys(reasons)))


def _tfidf(data: TaskData, baseline: LoadedModel, how: MeasureContext) -> Control:
    """TF-IDF with a linear model, fitted on the train rows alone."""
    problem = data.training.problem

    def make() -> Mapping[str, Any]:
        model = fit_tfidf(data.training.train, problem)
        predictor = Predictor(model.predict, model.arrays(), model.size_bytes(), "scikit-learn")
        return {"recipe": RECIPE, **measure_predictor(predictor, baseline, data, how)}

    return _control(f"TF-IDF + {linear_name(problem)}", make)


def _int8_teacher(
    ctx: StageContext, data: TaskData, baseline: LoadedModel, how: MeasureContext
) -> Control:
    """The teacher in int8: exported, reloaded and measured like a run."""

    def make() -> Mapping[str, Any]:
        quantizer = int8_format(how.device, read_architecture(baseline.folder))
        with temporary_folder(how.shared / "controls") as temporary:
            folder = temporary / "model"
            exported = write(ctx.teacher, quantizer, ctx, folder)
            loaded = read_back(exported, ctx.teacher, ctx, folder)
            measured = measure(loaded, baseline, data, replace(how, run="teacher in int8"))
        found = {name: value for name, value in measured.fields().items() if name != "baseline"}
        words = f"{choice_name(type(quantizer))} embeddings={quantizer.describe()['embeddings']}"
        return {"recipe": words, **found}

    return _control("teacher in int8", make)


def _control(name: str, make: Callable[[], Mapping[str, Any]]) -> Control:
    """The control whose recipe and figures are made, or why there is none."""
    try:
        return Control(name, **make())
    except UserError as error:
        log.info("no control %s: %s", name, one_line(error))
        return Control(name, absent=one_line(error))


def _quantizer(name: str, embeddings: str) -> Quantizer:
    """A format with its default settings, but for the embeddings."""
    part = OmegaConf.load(CONF / "quantizer" / f"{name}.yaml")
    part.embeddings = embeddings
    made: Quantizer = construct(OmegaConf.create({"quantizer": part}), "quantizer", Quantizer)
    return made


def _checked(quantizer: Quantizer, device: Device, teacher: PreTrainedModel) -> Quantizer:
    """The format itself, where device and model support it; else a UserError."""
    check_pair(type(device.runtime), type(quantizer))
    device.runtime.check(quantizer, device)
    quantizer.check(teacher)
    device.runtime.check_model(teacher, quantizer)
    return quantizer


def _key(device: Device, baseline: LoadedModel, data: TaskData) -> Mapping[str, Any]:
    """All that the controls depend on; they are measured again if any of it differs."""
    return {
        **conditions(device),
        "version": VERSION,
        "runtime": device.runtime.describe(),
        "baseline": baseline.digest,
        "rows": [data.training.digest, data.evaluation.digest],
        "problem": repr(data.training.problem),
    }
