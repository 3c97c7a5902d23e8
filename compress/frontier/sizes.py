"""Sizes of a super-net and of its sub-nets, for whatever teacher a search is given.

What the command line names is left as it is named. Along an axis along which the teacher cannot be
cut, everything keeps the teacher's size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import hydra.utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from compress.config.construct import construct
from compress.config.errors import ConfigError
from compress.interfaces import Student, Task, Teacher
from compress.shaping.shape import CUTS, Shape
from compress.shaping.subshape import size_of
from compress.student.supernet import CHOICES, SUB, SupernetStudent
from compress.transformer.positions import position_count
from compress.transformer.stacks import token_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYERS = 4  # of the super-net, at most
TOKENS = 14_000  # at most; of reviews in English, a quarter of the texts is cut into other pieces
SHAPE, EMBEDDINGS = "student.shape", "quantizer.embeddings"


def proposed_sizes(
    arguments: Sequence[str], compose: Callable[[Sequence[str]], DictConfig]
) -> list[str]:
    """Overrides of the sizes that the command line does not name; those of sub-nets are sweeps.

    Args:
        arguments: overrides of the command line.
        compose: composes the config of some overrides.

    Raises:
        UserError: the teacher, the task or the student is wrong, or each super-net would have other
            sub-nets and none is named.
    """
    parsed = OverridesParser.create().parse_overrides(list(arguments))
    swept = {str(each.key_or_group): each.is_sweep_override() for each in parsed}
    fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    cfg = compose(fixed)
    if not issubclass(_kind(cfg), SupernetStudent):
        return []  # what is refused, and why, does not depend on sizes
    task = construct(cfg, "task", Task)
    teacher = construct(cfg, "teacher", Teacher).skeleton(task.head)
    length = OmegaConf.select(cfg, "task.max_length")
    depth = OmegaConf.select(cfg, "student.layers") if "student.layers" in swept else None
    shape = OmegaConf.select(cfg, SHAPE)
    timed = max(each[1] for each in OmegaConf.select(cfg, "device.benchmark.shapes"))
    wanted = dict(
        [
            *_supernet(teacher, depth, shape.neurons),
            *_shape(teacher, length and max(length, timed)),
            *_formats(teacher, cfg),
            *_losses(task),
        ]
    )
    proposed = [f"{key}={_word(value)}" for key, value in wanted.items() if key not in swept]
    if any(key.startswith(f"{SUB}.") for key in swept):
        return proposed
    decide = ("student.layers", SHAPE, CHOICES)
    if several := [key for key, many in swept.items() if many and key.startswith(decide)]:
        raise ConfigError(
            f"with several values of {', '.join(several)} name the sub-nets to compare, "
            f"such as {SUB}.depth=2,3; got none"
        )
    student = construct(compose([*fixed, *proposed]), "student", Student)
    assert isinstance(student, SupernetStudent), "asked above"
    sizes = student.choices.sizes(student.largest(teacher), CHOICES)
    return [*proposed, *(f"{SUB}.{axis}={_listed(values)}" for axis, values in sizes.items())]


def _kind(cfg: DictConfig) -> type:
    """The class of the student that the config names."""
    return hydra.utils.get_class(str(OmegaConf.select(cfg, "student._target_")))


def _supernet(
    teacher: PreTrainedModel, named: Any, neurons: int | None
) -> Iterator[tuple[str, Any]]:
    """Layers of the super-net, and sizes of sub-nets beside its own.

    Args:
        teacher: its skeleton.
        named: layers that the command line names; None if it names none.
        neurons: of the super-net; None for the teacher's.
    """
    layers = min(LAYERS, size_of(teacher, "depth"))
    yield "student.layers", layers
    if named is not None:
        layers = named if isinstance(named, int) else len(named)
    yield f"{CHOICES}.depths", [*range(2, layers)] or [*range(1, layers)]
    half = (neurons or _size(teacher, "neurons")) // 2
    yield f"{CHOICES}.neurons", [half] if _is_possible(teacher, "neurons", half) else []


def _shape(teacher: PreTrainedModel, length: int | None) -> Iterator[tuple[str, Any]]:
    """Sizes of the super-net itself.

    Args:
        teacher: its skeleton.
        length: tokens of the task's longest text, and of the longest that is timed; None if the
            task has no texts.
    """
    table, positions = token_table(teacher), position_count(teacher)
    wanted: dict[str, Any] = {"activation": "relu"}
    if table is not None and table.num_embeddings > TOKENS:
        wanted["vocabulary"] = TOKENS
    if positions is not None and length is not None and positions > length:
        wanted["positions"] = length
    for axis, size in wanted.items():
        if _is_possible(teacher, axis, size):
            yield f"{SHAPE}.{axis}", size


def _formats(teacher: PreTrainedModel, cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Formats where the search's own do not go: a model of images has no table of tokens."""
    if token_table(teacher) is None and OmegaConf.select(cfg, EMBEDDINGS) is not None:
        yield EMBEDDINGS, "none"


def _losses(task: Task) -> Iterator[tuple[str, Any]]:
    """Losses where the search's own are not defined: `logit_mse` is for classes alone."""
    if not (task.smooths_labels() and task.head == "classifier"):
        for training in ("supernet", "distillation"):
            yield f"student.{training}.logit_mse", 0.0


def _size(teacher: PreTrainedModel, axis: str) -> int:
    """The size along an axis of sub-nets; 0 where the architecture is unknown."""
    try:
        return size_of(teacher, axis)
    except ConfigError:
        return 0


def _is_possible(teacher: PreTrainedModel, axis: str, size: Any) -> bool:
    """Whether the teacher can be cut to a size."""
    if not size:
        return False
    sizes = dict.fromkeys((*CUTS, "vocabulary"))
    try:
        Shape(**{**sizes, axis: size}, importance="l1").check(copy.deepcopy(teacher), SHAPE)
    except ConfigError:
        return False
    return True


def _word(value: Any) -> str:
    """A value as an override has it."""
    return str(value).replace(" ", "")


def _listed(values: Sequence[int]) -> str:
    """Values of a sweep, in ascending order; one alone is a sweep as well."""
    words = ",".join(map(str, reversed(values)))
    return words if len(values) > 1 else f"choice({words})"
