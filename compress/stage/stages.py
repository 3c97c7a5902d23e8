"""The stages of a run: each is looked up in the store before it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.blame import blame
from compress.config.errors import Diverged, UserError
from compress.core.monitor import Monitor
from compress.interfaces import (
    CompressedModel,
    Device,
    ExportResult,
    Pruner,
    Quantizer,
    StageContext,
    TrainingData,
)
from compress.measure.reload import check_reload
from compress.measure.run import LoadedModel
from compress.measure.sparsity import check_history
from compress.store.artifact import load, read_architecture
from compress.store.cache import StageStore
from compress.system.files import whole_folder
from compress.training.divergence import check_weights
from compress.training.teachers import logit_sources, task_outputs
from compress.transformer.stacks import block_linears
from compress.transformer.stored_modules import named_weights
from compress.transformer.text_tokens import text_spec

if TYPE_CHECKING:
    from compress.stage.run import Run


def begin(run: Run, training: TrainingData, store: StageStore, monitor: Monitor) -> StageContext:
    """Loads the teacher and builds the context of the other stages.

    The teacher learns from labeled rows only, so it does not change with the others.
    """
    labeled = training.labeled

    def make() -> CompressedModel:
        # Checked here, so that what is unsuitable is rejected before the teacher is loaded.
        with blame("student", "pruner", "quantizer", "task"):
            run.student.check_rows(training)
            for _, learning in run.distillations():
                for folder in learning.teachers or ():
                    task_outputs(Path(folder), training)
        return run.teacher.load(labeled, run.device, run.seed, monitor)

    checked = _finite("teacher", make)
    with blame("teacher", "task", "device", "cache", "seed"):
        teacher = store.model("teacher", run.teacher, {"rows": labeled.digest}, checked)
    rows = training.tokenized(teacher, store)
    ctx = StageContext(teacher, rows, run.device, run.seed, store, monitor)
    for key, learning in run.distillations():
        with blame(key.partition(".")[0], "teacher", "task"):
            logit_sources(learning.teachers or (), ctx)
    return ctx


def distilled(run: Run, ctx: StageContext, store: StageStore) -> CompressedModel:
    """The distilled student; the teacher itself without a student."""
    make = _finite("student", lambda: run.student.distill(ctx))
    return store.model("student", run.student, _inputs(ctx), make)


def pruned(
    pruner: Pruner, student: CompressedModel, ctx: StageContext, store: StageStore
) -> CompressedModel:
    """The pruned student; unchanged without a pruner."""
    inputs = _inputs(ctx, student=student)
    make = _finite("pruner", lambda: pruner.prune(student, ctx))
    model = store.model("pruner", pruner, inputs, make)
    check_history(model.history, named_weights(model.module))
    return model


def compress(
    run: Run, training: TrainingData, store: StageStore, monitor: Monitor
) -> tuple[CompressedModel, StageContext]:
    """Runs all stages; returns the model to export and the context."""
    ctx = begin(run, training, store, monitor)
    student = distilled(run, ctx, store)
    small = pruned(run.pruner, student, ctx, store)
    inputs = _inputs(ctx, student=student, pruner=small)
    make = _finite("quantizer", lambda: run.quantizer.prepare(small, ctx))
    model = store.model("quantizer", run.quantizer, inputs, make)
    check_history(model.history, named_weights(model.module))
    return model, ctx


def write(
    model: CompressedModel, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> ExportResult:
    """Writes the artifact to a new folder, with the tokenizer that texts are read by.

    Raises:
        UserError: a weight is not finite.
    """
    check_finite(model)
    ctx.monitor.stage("export")
    deployed = replace(model, texts=text_spec(model.tokenizer, ctx.data, ctx.store))
    return export(deployed, quantizer, ctx, folder)


def export(
    model: CompressedModel, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> ExportResult:
    """Writes a model in the runtime's format to a new folder."""
    with whole_folder(folder) as temporary:
        return ctx.device.runtime.export(model, quantizer, temporary, ctx)


def check_finite(model: CompressedModel) -> None:
    """Checks that all weights are finite.

    Raises:
        UserError: one is not; says which.
    """
    for name, weight in model.module.named_parameters():
        if not bool(weight.isfinite().all()):
            raise UserError(
                f"{name} has weights that are NaN or infinite, which no format can store: the "
                "checkpoint is damaged or a training diverged; lower its learning rate"
            )


def read_back(
    exported: ExportResult, model: CompressedModel, ctx: StageContext, folder: Path
) -> LoadedModel:
    """Reloads and checks the artifact; only checked artifacts are measured."""
    loaded = load_measured(folder, ctx.device)
    lengths = (length for _, length in ctx.device.benchmark.shapes)
    check_reload(exported, loaded.model, ctx.data.calibration, lengths)
    check_history(model.history, loaded.model.weights())
    return loaded


def load_measured(folder: Path, device: Device, digest: str = "") -> LoadedModel:
    """Loads a model folder for measurement.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    model = load(folder, device.torch_device, device.thread_count())
    linears = set(block_linears(read_architecture(folder)))
    compressible = {name for name, _ in model.weights() if _is_of(name, linears)}
    return LoadedModel(model, folder, compressible, digest)


def _finite(stage: str, make: Callable[[], CompressedModel]) -> Callable[[], CompressedModel]:
    """Wraps a stage so that a model with non-finite weights is not stored.

    The function returned raises Diverged: a training diverged, or weights are not finite.
    """

    def checked() -> CompressedModel:
        try:
            model = make()
            # With a digest it is a model that is stored already, which was checked then.
            if not model.digest:
                check_weights(model.module)
        except Diverged as error:
            raise Diverged(f"{stage}: {error}") from error
        return model

    return checked


def _inputs(ctx: StageContext, **models: CompressedModel) -> dict[str, str]:
    """Digests of a stage's inputs."""
    digests = {stage: model.digest for stage, model in models.items()}
    learned = {"learned": found} if (found := ctx.data.problem.learned) else {}
    return {"rows": ctx.data.digest, "teacher": ctx.teacher.digest, **learned, **digests}


def _is_of(weight: str, linears: set[str]) -> bool:
    """Whether a weight belongs to a Linear, or to a module that replaces one."""
    owner, _, leaf = weight.rpartition(".")
    return leaf == "weight" and (owner in linears or owner.rpartition(".")[0] in linears)
