"""Dynamic quantization in OpenVINO: what Linear layers of integer weights read is rounded to int8.

Each group of consecutive inputs has a scale of its own, found in every call. OpenVINO is silent
where it does not do that: on processors without the kernels, and in layers whose weights' groups
are no multiples of those of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from compress.config.errors import ConfigError
from compress.serve.openvino import GROUP_SIZE, import_openvino

SETTING = "device.runtime.activation_group"


def check_processor(group: int) -> None:
    """Raises a ConfigError if this processor computes as if nothing were asked for."""
    if not _rounds(group):
        raise ConfigError(
            f"{SETTING}={group} has no effect in OpenVINO on this processor, which lacks kernels "
            "for it (they need VNNI); set it to null"
        )


def check_sizes(group: int, sizes: Mapping[str, int]) -> None:
    """Raises a ConfigError for layers in which nothing would be rounded.

    Args:
        group: of inputs.
        sizes: consecutive weights that share a scale, by layer.
    """
    for name, size in sizes.items():
        if size % group:
            fitting = [each for each in (16, 32, 64, 128) if size % each == 0]
            raise ConfigError(
                f"{SETTING}={group} has no effect on {name}, whose scales are for {size} weights "
                f"each; it must divide them, as {', '.join(map(str, fitting)) or 'no group'} would"
            )


@cache
def _rounds(group: int) -> bool:
    """Whether a product of int8 weights gives other numbers with rounded inputs."""
    openvino = import_openvino()
    ops, random = openvino.opset13, np.random.default_rng(0)
    read = ops.parameter([4, 4 * group], np.float32)
    codes = random.integers(-127, 128, (64, 4 * group)).astype(np.int8)
    scale = np.full((64, 1), 0.01, dtype=np.float16)
    weight = ops.multiply(ops.convert(ops.constant(codes), "f16"), ops.constant(scale))
    product = ops.matmul(read, ops.convert(weight, "f32"), False, True)
    graph = openvino.Model([ops.result(product)], [read])
    inputs = random.normal(size=(4, 4 * group)).astype(np.float32)
    plain, rounded = (
        openvino.Core().compile_model(
            graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", GROUP_SIZE: size}
        )(inputs)[0]
        for size in (0, group)
    )
    return not np.array_equal(plain, rounded)
