"""Measures shapes: the teacher's own weights, untrained, cut by place, exported and timed.

No kernel in use looks at the values of weights (`benchmarks/equal_graphs.py`), so these take the
time and the bytes that a trained student of the shape takes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.config.errors import UserError
from compress.costs.facts import facts_of
from compress.costs.family import Family
from compress.costs.samples import Sample
from compress.costs.space import WHERE, Sizes
from compress.interfaces import CompressedModel, InferenceModel, Quantizer, StageContext, TaskData
from compress.measure.latency import TimedModel, fill_shapes, measure_briefly
from compress.runtime.components.onnx_export import one_export
from compress.serve.folder import folder_bytes
from compress.shaping.vocabulary import Kept, shrink_vocabulary_
from compress.stage.run import Run
from compress.stage.stages import export
from compress.store.artifact import load, write_model
from compress.store.cache import StageStore
from compress.store.kinds import TORCH
from compress.system.files import scratch_folder
from compress.transformer.processors import write_processor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Whole:
    """The untrained teacher with one of the vocabularies, before other cuts."""

    model: CompressedModel
    processor_bytes: int


class Lab:
    """The untrained teacher in a scratch folder, and its rows."""

    def __init__(self, run: Run, family: Family, store: StageStore, folder: Path) -> None:
        """Reads the rows and the teacher.

        Raises:
            UserError: they cannot be read.
        """
        self._run, self._family, self._folder = run, family, folder
        data: TaskData = run.task.load()
        teacher = run.teacher.untrained(data.training)
        rows = data.training.tokenized(teacher)
        self._ctx = StageContext(teacher, rows, run.device, run.seed, store)
        self._baseline = folder / "teacher"
        write_model(teacher, self._baseline, TORCH)
        self.baseline_bytes = folder_bytes(self._baseline)
        self._wholes: dict[int | None, Whole] = {}
        shapes = run.device.benchmark.shapes
        self._baseline_inputs = fill_shapes(self._loaded(self._baseline), rows.calibration, shapes)

    def measure(
        self, sizes: Sizes, pairs: Mapping[str, Run], rounds: int
    ) -> Iterator[tuple[str, Sample | UserError]]:
        """Exports a shape once and times it in each runtime and format, named in `pairs`.

        Yields:
            The sample, or why the format does not go with the shape.
        """
        module = self._cut(sizes)
        with one_export():
            for name, run in pairs.items():
                try:
                    yield name, self._sample(module, sizes, run, rounds)
                except UserError as error:
                    yield name, error

    def named(self, sizes: Sizes) -> dict[str, str]:
        """Sizes in words; see `Family.named`."""
        return self._family.named(sizes)

    def _sample(self, model: CompressedModel, sizes: Sizes, run: Run, rounds: int) -> Sample:
        check_format(model.module, run)
        ctx = replace(self._ctx, device=run.device)
        with scratch_folder() as scratch:
            folder = scratch / "model"
            export(model, run.quantizer, ctx, folder)
            shapes = run.device.benchmark.shapes
            inputs = fill_shapes(self._loaded(folder), ctx.data.calibration, shapes)
            baseline = TimedModel(self._baseline, self._baseline_inputs)
            timings = measure_briefly(
                TimedModel(folder, inputs), baseline, run.device, run.seed, rounds
            )
            return Sample(
                sizes=sizes,
                facts=dict(facts_of(model.module)),
                speedup=tuple(timing.interval(run.seed)[0] for timing in timings),
                baseline_ms=tuple(float(np.median(timing.times_ms[1])) for timing in timings),
                size_bytes=folder_bytes(folder),
                processor_bytes=self._with_vocabulary(sizes.vocabulary).processor_bytes,
            )

    def _cut(self, sizes: Sizes) -> CompressedModel:
        whole = self._with_vocabulary(sizes.vocabulary).model
        module = copy.deepcopy(whole.module)
        self._family.shorten_(module, sizes)
        sizes.shape().check(module, WHERE)
        return replace(whole, module=module.eval())

    def _with_vocabulary(self, size: int | None) -> Whole:
        """The teacher with as many tokens, made once: to count tokens takes long."""
        if size not in self._wholes:
            model, module = self._ctx.teacher, copy.deepcopy(self._ctx.teacher.module)
            tokenizer = model.tokenizer
            if size is not None:
                key, kept = f"{WHERE}.vocabulary", Kept(size=size)
                rows = self._ctx.data.learned  # as a student's shape counts them
                tokenizer, _ = shrink_vocabulary_(module, tokenizer, rows, key, kept)
            with scratch_folder() as scratch:
                write_processor(tokenizer, scratch)
                count = sum(path.stat().st_size for path in scratch.iterdir())
            model = replace(model, module=module, tokenizer=tokenizer)
            self._wholes[size] = Whole(model, count)
        return self._wholes[size]

    def _loaded(self, folder: Path) -> InferenceModel:
        device = self._run.device
        return load(folder, device.torch_device, device.thread_count())


def check_format(module: PreTrainedModel, run: Run) -> None:
    """Raises a UserError if a runtime or a format does not go with a model's shapes."""
    run.quantizer.check(module)
    run.device.runtime.check_model(module, run.quantizer)


def exportable(family: Family, sizes: Sizes, run: Run) -> bool:
    """Whether a runtime and a format go with a shape."""
    try:
        check_format(family.skeleton(sizes), run)
    except UserError:
        return False
    return True


def check_untrained(run: Run) -> None:
    """Raises a UserError for a format that trains, which takes longer than a table."""
    if type(run.quantizer).prepare is not Quantizer.prepare:
        raise UserError("it trains, and a table of costs only measures")


@contextmanager
def open_lab(run: Run, family: Family) -> Iterator[Lab]:
    """A lab, whose files are deleted when the block is left."""
    with ExitStack() as stack:
        stack.enter_context(run.device.session())
        folder = stack.enter_context(scratch_folder())
        store = stack.enter_context(run.cache.open(folder, run.device, run.seed))
        yield Lab(run, family, store, folder)
