"""The shapes of the sub-nets of a super-net, whose most important parts come first.

A sub-net has the first channels, heads and neurons of the super-net, and evenly spaced layers from
the first to the last: of 12 layers one is 0, two are 0 and 11, three are 0, 6 and 11, and four are
0, 4, 7 and 11. So a narrower sub-net is a part of a wider one, but the layers of a shallower one
are not always among those of a deeper one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import PositiveInt
from compress.config.settings import Settings
from compress.shaping.order import ByPlace
from compress.shaping.shape import cut_sizes_
from compress.transformer.blocks import known_blocks
from compress.transformer.residual import residual_width
from compress.transformer.stacks import evenly_spaced, find_stack
from compress.transformer.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What `Choices` calls the sizes along an axis of `SubShape`.
AXES = {"depth": "depths", "hidden": "hidden", "heads": "heads", "neurons": "neurons"}
# By axis the sizes of a sub-net, from the largest to the smallest.
Sizes: TypeAlias = Mapping[str, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class SubShape(Settings):
    """The sizes of a sub-net; null for the super-net's own.

    Attributes:
        depth: transformer layers.
        hidden: width of the residual stream.
        heads: attention heads per layer.
        neurons: width of the feed-forward.
    """

    depth: PositiveInt | None
    hidden: PositiveInt | None
    heads: PositiveInt | None
    neurons: PositiveInt | None

    def sizes(self) -> dict[str, int]:
        """The sizes that are not the super-net's own, by axis."""
        asked = {axis: getattr(self, axis) for axis in AXES}
        return {axis: size for axis, size in asked.items() if size is not None}


@dataclass(frozen=True, kw_only=True)
class Choices(Settings):
    """Sizes that sub-nets may have beside the super-net's own; an empty list for no others.

    Attributes:
        depths: numbers of transformer layers.
        hidden: widths of the residual stream.
        heads: attention heads per layer; where several queries share a key, multiples of these.
        neurons: widths of the feed-forward.
    """

    depths: tuple[PositiveInt, ...]
    hidden: tuple[PositiveInt, ...]
    heads: tuple[PositiveInt, ...]
    neurons: tuple[PositiveInt, ...]

    def __post_init__(self) -> None:
        """Checks that the sizes ascend, so that equal choices are written alike."""
        super().__post_init__()
        for field in fields(self):
            sizes = list(getattr(self, field.name))
            if sizes != sorted(set(sizes)):
                raise ConfigError(
                    f"{self.kind}.{field.name} must list sizes in ascending order, got {sizes}"
                )
        if not any(self.by_axis().values()):
            raise ConfigError(f"{self.kind} must have a size beside the largest, got none")

    def by_axis(self) -> dict[str, tuple[int, ...]]:
        """The sizes by the name that `SubShape` has for them."""
        return {axis: getattr(self, name) for axis, name in AXES.items()}

    def axes(self) -> tuple[str, ...]:
        """The axes along which sub-nets differ."""
        return tuple(axis for axis, sizes in self.by_axis().items() if sizes)

    def sizes(self, largest: PreTrainedModel, where: str) -> dict[str, tuple[int, ...]]:
        """The sizes of sub-nets by axis, from the super-net's own down.

        Axes without choices are left out, so that an architecture need not be known for them.

        Args:
            largest: the super-net or its skeleton.
            where: the key of these settings, for messages.

        Raises:
            ConfigError: the super-net has no such parts, or fewer, or no size is smaller.
        """
        found = {}
        for axis in self.axes():
            listed, key = self.by_axis()[axis], f"{where}.{AXES[axis]}"
            try:
                own = size_of(largest, axis)
            except ConfigError as error:
                raise ConfigError(f"{key}: {error}") from error
            if listed[-1] > own:
                raise ConfigError(f"{key} must be at most {own}, the super-net's, got {listed[-1]}")
            found[axis] = (own, *(size for size in reversed(listed) if size < own))
        if all(len(sizes) == 1 for sizes in found.values()):
            raise ConfigError(f"{where} has no size below the super-net's, expected one or more")
        return found


def size_of(module: PreTrainedModel, axis: str) -> int:
    """The size of a model along one of `AXES`; where layers differ, the largest one's.

    Raises:
        ConfigError: the architecture is unknown.
    """
    if axis == "depth":
        return find_stack(module).depth
    if axis == "hidden":
        return residual_width(module)
    return max(int(getattr(block, axis)) for block in known_blocks(module))


def every_shape(sizes: Sizes) -> tuple[SubShape, ...]:
    """All shapes of sub-nets, the largest first and the smallest last."""
    options = [(None, *sizes.get(axis, (0,))[1:]) for axis in AXES]
    return tuple(SubShape(**dict(zip(AXES, chosen, strict=True))) for chosen in product(*options))


def named_shape(shape: SubShape, sizes: Sizes, where: str) -> SubShape:
    """The one of `every_shape` that is meant, which has null for the super-net's own sizes.

    Args:
        shape: of a sub-net.
        sizes: that sub-nets were trained in.
        where: the key of the shape, for messages.

    Raises:
        ConfigError: no sub-net of that shape was trained.
    """
    meant: dict[str, int | None] = dict.fromkeys(AXES)
    for axis, size in shape.sizes().items():
        if axis not in sizes:
            raise ConfigError(
                f"{where}.{axis} must be null, as no other size is chosen, got {size}"
            )
        if size not in sizes[axis]:
            allowed = ", ".join(map(str, reversed(sizes[axis])))
            raise ConfigError(f"{where}.{axis} must be one of {allowed}, got {size}")
        meant[axis] = None if size == sizes[axis][0] else size
    return SubShape(**meant)


def kept_layers(module: PreTrainedModel, shape: SubShape) -> tuple[int, ...]:
    """The layers of a super-net that a sub-net has."""
    depth = find_stack(module).depth
    return evenly_spaced(shape.depth or depth, depth)


def cut_subnet_(module: PreTrainedModel, shape: SubShape, where: str) -> None:
    """Cuts a super-net, or its skeleton, to a sub-net.

    Args:
        module: changes in place.
        shape: of the sub-net.
        where: the key of the shape, for messages.

    Raises:
        ConfigError: the model cannot be cut to a size.
    """
    sizes = shape.sizes()
    if "depth" in sizes:
        keep_blocks_(module, kept_layers(module, shape))
    cut_sizes_(module, {axis: n for axis, n in sizes.items() if axis != "depth"}, ByPlace(), where)
