"""Builds a Run from a DictConfig. Config errors are raised here, before weights are loaded."""

from __future__ import annotations

import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from compress.config.blame import blame, lay
from compress.config.construct import construct, keyed
from compress.config.errors import ConfigError, UserError
from compress.config.settings import Settings, check_seed, within
from compress.records.metrics import check_objectives, check_scores
from compress.stage.pairs import check_pair, check_zeros
from compress.stage.run import Controls, Run
from compress.training.functions import check_dropout
from compress.training.teachers import check_teachers
from compress.training.train import Training
from compress.transformer.dry_run import check_runs
from compress.transformer.positions import position_count
from compress.transformer.pretrained import head_of
from compress.transformer.rebuilding import check_rebuilds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Device


# What a search asks of each of its runs.
SEARCHED = ("search.objectives", "search.constraints")


def build_run(cfg: DictConfig) -> Run:
    """Builds the run and checks its parts against each other.

    Raises:
        UserError: a setting is wrong, or two do not go together. Every wrong group is named.
        OmegaConfBaseException: an interpolation refers to a missing value.
    """
    # Also what is in no group: a run whose record cannot say what it was given is none. A sweeper
    # hands over Hydra's own part as well, which is not whole before the job.
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    OmegaConf.to_container(own, resolve=True)
    hints = typing.get_type_hints(Run)
    parts: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field in fields(Run):
        hint = hints[field.name]
        if not (isinstance(hint, type) and issubclass(hint, Settings)):
            continue
        try:
            parts[field.name] = construct(cfg, field.name, hint)
        except UserError as error:
            errors[field.name] = str(error)
    if errors:
        refusal = ConfigError("; ".join(errors.values()))
        lay(refusal, [(group,) for group in errors])
        raise refusal
    with blame("seed", "objectives", "measure_stages", "controls"):
        seed = OmegaConf.select(cfg, "seed")
        check_seed("seed", seed)
        objectives = _objectives(cfg)
        measured = OmegaConf.select(cfg, "measure_stages")
        if not isinstance(measured, bool):
            raise ConfigError(f"measure_stages must be true or false, got {measured!r}")
        plain = {"seed": seed, "objectives": objectives, "controls": _controls(cfg)}
        run = Run(**parts, **plain, measure_stages=measured)
    check_run(run)
    with blame("search", "task"):
        for key in SEARCHED:
            check_scores(key, OmegaConf.select(cfg, key) or (), run.task.scores())
    return run


def check_run(run: Run) -> None:
    """Checks all that does not require weights or rows.

    Raises:
        UserError: something cannot work.
    """
    with blame("cache"):
        run.cache.check()
    with blame("tracker"):
        run.tracker.check()
    with blame("device"):
        run.device.check()
    with blame("device", "quantizer"):
        check_pair(type(run.device.runtime), type(run.quantizer))
        run.device.runtime.check(run.quantizer, run.device)
    with blame("task"):
        run.task.check()
    with blame("objectives", "task"):
        check_objectives(run.objectives, run.task.scores())
    with blame("quantizer", "task"):
        run.quantizer.check_scores(run.task.scores())
    with blame("quantizer", "pruner"):
        check_zeros(run.pruner, run.quantizer)
    with blame("task", "student", "pruner", "quantizer"):
        check_losses(run)
        check_transfer(run)
    with blame("teacher"):
        run.teacher.check()
    check_further_teachers(run)
    check_skeletons(run)


def check_further_teachers(run: Run) -> None:
    """Checks the folders of further teachers.

    Raises:
        UserError: one cannot be learned from.
    """
    for key, training in run.distillations():
        with blame(key.partition(".")[0], "task", "device"):
            try:
                check_teachers(training.teachers or (), run.task, run.device)
            except UserError as error:
                raise type(error)(f"{key}.teachers: {error}") from error


def check_skeletons(run: Run) -> None:
    """Checks the shapes after each stage.

    Raises:
        UserError: a stage cannot do what it was asked on them, or its model does not run.
    """
    with blame("teacher", "task"), keyed("teacher", type(run.teacher)):
        skeleton = run.teacher.skeleton(run.task.head)
        run.task.check_model(skeleton)
    with blame("device", "teacher", "task"):
        check_shapes(run.device, skeleton, "teacher")
        check_skeleton(skeleton, run.teacher, run.device)
    with blame("student", "teacher", "task", "device"):
        with keyed("student", type(run.student)):
            student = run.student.check(skeleton)
        run.task.check_model(student)
        check_shapes(run.device, student, "student")
        check_skeleton(student, run.student, run.device)
    with blame("pruner", "student", "teacher", "task", "device"):
        with keyed("pruner", type(run.pruner)):
            pruned = run.pruner.check(student)
        check_skeleton(pruned, run.pruner, run.device)
    # The quantizer comes last: it sees the shapes that the pruner leaves.
    with blame("quantizer", "pruner", "student", "teacher", "task", "device"):
        run.quantizer.check(pruned)
        check_training(pruned, run.quantizer, run.device)
        run.device.runtime.check_model(pruned, run.quantizer)


def check_skeleton(module: PreTrainedModel, stage: Settings, device: Device) -> None:
    """Checks that the model of a stage runs, in training too, and can be reloaded.

    Raises:
        UserError: it cannot.
    """
    what = f"the model of {type(stage).__name__}"
    check_runs(module, what)
    check_training(module, stage, device)
    check_rebuilds(module, what)


def check_training(module: PreTrainedModel, stage: Settings, device: Device) -> None:
    """Checks that the model of a stage runs in the dtype of its training, if any.

    Raises:
        UserError: it does not, or has no dropout to change.
    """
    trainings = [training for _, training in within(stage, Training, "") if training.epochs]
    if trainings:
        what = f"the model of {type(stage).__name__} in training"
        check_runs(module, what, autocast=device.training_dtype())
    for training in trainings:
        check_dropout(module, training.dropout, type(stage).__name__)


def check_shapes(device: Device, model: PreTrainedModel, role: str) -> None:
    """Checks that the teacher, or the student, supports the lengths of the benchmark.

    Raises:
        ConfigError: it does not, or a language model could not write as much as is timed.
    """
    limit = position_count(model)
    longest = max(length for _, length in device.benchmark.shapes)
    if limit is not None and longest > limit:
        raise ConfigError(
            f"device.benchmark.shapes has length {longest}, the {role} takes at most {limit}"
        )
    text = device.benchmark.generation
    if text is None or limit is None or head_of(model) != "language_model":
        return
    if text.prompt + text.new_tokens > limit:
        raise ConfigError(
            f"device.benchmark.generation has {text.prompt} + {text.new_tokens} tokens, the "
            f"{role} takes at most {limit}"
        )


def check_losses(run: Run) -> None:
    """Checks that terms of a loss are used only where they are defined.

    Raises:
        ConfigError: labels are numbers, and a training smooths them; or it compares logits of a
            task that is no classification; or it stops by a loss that the task has not.
    """
    if not run.task.validates_by_loss():
        check_no_patience(run)
    smooths = run.task.smooths_labels()
    classifies = smooths and run.task.head == "classifier"
    task = type(run.task).__name__
    for key, training in run.distillations():
        if training.label_smoothing and not smooths:
            raise ConfigError(
                f"{key}.label_smoothing must be 0, as the labels of {task} are numbers; got "
                f"{training.label_smoothing}"
            )
        if training.logit_mse and not classifies:
            raise ConfigError(
                f"{key}.logit_mse must be 0, as {task} is no classification; got "
                f"{training.logit_mse}"
            )


def check_no_patience(run: Run) -> None:
    """Raises a ConfigError if a training stops by the loss of the validation rows."""
    for group in ("teacher", "student", "pruner", "quantizer"):
        for key, training in within(getattr(run, group), Training, group):
            if training.patience is not None:
                raise ConfigError(
                    f"{key}.patience must be null, as the validation rows of "
                    f"{type(run.task).__name__} have no loss; got {training.patience}"
                )


def check_transfer(run: Run) -> None:
    """Checks that transfer text, if there is any, is used.

    Raises:
        ConfigError: a training learns from labels alone, or nothing reads the text.
    """
    if not run.task.has_unlabeled():
        return
    active = [(key, training) for key, training in run.distillations() if training.epochs]
    for key, training in active:
        if training.alpha == 0:
            raise ConfigError(
                f"{key}.alpha must be above 0 with transfer text, which has no labels to learn "
                f"from, got {training.alpha}; or take {'='.join(_unlabeled(run))}"
            )
    if not active and run.pruner.foresees_shapes():
        setting, none = _unlabeled(run)
        raise ConfigError(
            f"{setting} must be {none} without a student or recovery training that learns from the "
            "text, got a run that trains nothing after the teacher"
        )


def _unlabeled(run: Run) -> tuple[str, str]:
    """The setting that texts without labels are of, and its value for none."""
    if getattr(run.task, "learn_documents", False):
        return "task.learn_documents", "false"
    return "task/transfer", "none"


def _objectives(cfg: DictConfig) -> tuple[str, ...]:
    names = OmegaConf.select(cfg, "objectives")
    if not OmegaConf.is_list(names):
        raise ConfigError(f"objectives must be a list such as [quality, size_bytes], got {names}")
    return tuple(str(name) for name in names)


def _controls(cfg: DictConfig) -> Any:
    found = OmegaConf.select(cfg, "controls")
    if found not in (allowed := typing.get_args(Controls)):
        raise ConfigError(f"controls must be one of {', '.join(allowed)}; got {found}")
    return found
