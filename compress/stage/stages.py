"""The stages of a run, one by one: each is looked up in the store before it is made."""

from __future__ import annotations

from collections.abc import Callable
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
from compress.measure.run import LoadedModel, check_reload
from compress.measure.sparsity import check_history
from compress.store.artifact import load, read_architecture
from compress.store.cache import StageStore
from compress.system.files import whole_folder
from compress.training.divergence import check_weights
from compress.transformer.stacks import block_linears
from compress.transformer.stored_modules import named_weights

if TYPE_CHECKING:
    from compress.stage.run import Run


def begin(run: Run, training: TrainingData, store: StageStore, monitor: Monitor) -> StageContext:
    """The teacher, and all that the other stages may use."""

    def make() -> CompressedModel:
        # A student that does not go with the rows would else be refused once the teacher is made.
        with blame("student", "task"):
            run.student.check_rows(training)
        return run.teacher.load(training, run.device, run.seed, monitor)

    made = _finite("teacher", make)
    with blame("teacher", "task", "device", "cache", "seed"):
        teacher = store.model("teacher", run.teacher, {"rows": training.digest}, made)
    rows = training.cut(teacher, store)
    return StageContext(teacher, rows, run.device, run.seed, store, monitor)


def distilled(run: Run, ctx: StageContext, store: StageStore) -> CompressedModel:
    """The student; the teacher itself if the run has none."""
    make = _finite("student", lambda: run.student.distill(ctx))
    return store.model("student", run.student, _inputs(ctx), make)


def pruned(
    pruner: Pruner, student: CompressedModel, ctx: StageContext, store: StageStore
) -> CompressedModel:
    """The student as the pruner leaves it."""
    inputs = _inputs(ctx, student=student)
    make = _finite("pruner", lambda: pruner.prune(student, ctx))
    made = store.model("pruner", pruner, inputs, make)
    check_history(made.history, named_weights(made.module))
    return made


def compress(
    run: Run, training: TrainingData, store: StageStore, monitor: Monitor
) -> tuple[CompressedModel, StageContext]:
    """The model that all stages make, ready for export, and what they made it of."""
    ctx = begin(run, training, store, monitor)
    student = distilled(run, ctx, store)
    small = pruned(run.pruner, student, ctx, store)
    inputs = _inputs(ctx, student=student, pruner=small)
    make = _finite("quantizer", lambda: run.quantizer.prepare(small, ctx))
    made = store.model("quantizer", run.quantizer, inputs, make)
    check_history(made.history, named_weights(made.module))
    return made, ctx


def write(
    model: CompressedModel, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> ExportResult:
    """Writes the artifact into a folder that does not exist yet.

    Raises:
        UserError: a weight is not finite, so that no format can stand for it.
    """
    check_finite(model)
    ctx.monitor.stage("export")
    with whole_folder(folder) as temporary:
        return ctx.device.runtime.export(model, quantizer, temporary, ctx)


def check_finite(model: CompressedModel) -> None:
    """Checks that every weight is a number.

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
    """The artifact as it is on disk; only what is checked here may be measured."""
    loaded = load_measured(folder, ctx.device)
    check_reload(exported, loaded.model, ctx.data.calibration)
    check_history(model.history, loaded.model.weights())
    return loaded


def load_measured(folder: Path, device: Device, digest: str = "") -> LoadedModel:
    """A model folder, loaded to be measured.

    Args:
        folder: a compress model folder.
        device: what it will run on.
        digest: see `LoadedModel`.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    model = load(folder, device.torch_device, device.thread_count())
    linears = set(block_linears(read_architecture(folder)))
    compressible = {name for name, _ in model.weights() if _is_of(name, linears)}
    return LoadedModel(model, folder, compressible, digest)


def _finite(stage: str, make: Callable[[], CompressedModel]) -> Callable[[], CompressedModel]:
    """What makes the stage's model, if that is worth being stored.

    The function returned raises Diverged: a training diverged, or weights are not finite.
    """

    def made() -> CompressedModel:
        try:
            model = make()
            # With a digest it is a model that is stored already, which was checked then.
            if not model.digest:
                check_weights(model.module)
        except Diverged as error:
            raise Diverged(f"{stage}: {error}") from error
        return model

    return made


def _inputs(ctx: StageContext, **made: CompressedModel) -> dict[str, str]:
    """Digests of what a stage works on."""
    digests = {stage: model.digest for stage, model in made.items()}
    return {"rows": ctx.data.digest, "teacher": ctx.teacher.digest, **digests}


def _is_of(weight: str, linears: set[str]) -> bool:
    """Whether it is the weight of a Linear, or of a part of what stands in for one."""
    owner, _, leaf = weight.rpartition(".")
    return leaf == "weight" and (owner in linears or owner.rpartition(".")[0] in linears)
