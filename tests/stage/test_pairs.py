from __future__ import annotations

import pytest

from compress.build import build_run
from compress.config.errors import ConfigError
from compress.stage.pairs import every_quantizer, every_runtime
from tests.configs import compose_config, yaml_names


def test_every_format_and_every_runtime_is_found_under_its_name() -> None:
    assert [name for name, _ in every_quantizer()] == list(yaml_names("quantizer"))
    assert [name for name, _ in every_runtime()] == ["onnxruntime", "openvino", "torch"]


@pytest.mark.parametrize(
    ("device", "quantizer", "words"),
    [
        ("cpu", "int8_static", "torch runtime; supported: onnxruntime, openvino; torch has awq, "),
        (
            "cpu_onnxruntime",
            "nf4",
            "supported: torch; onnxruntime has awq, gptq, hqq, int8_dynamic, ",
        ),
        ("cpu_onnxruntime", "fp16", "quantizer=fp16 is not supported by the onnxruntime runtime"),
    ],
)
def test_a_pair_that_is_not_supported_is_refused_with_those_that_are(
    device: str, quantizer: str, words: str
) -> None:
    cfg = compose_config("teacher=tiny_random", f"device={device}", f"quantizer={quantizer}")
    with pytest.raises(ConfigError, match=words):
        build_run(cfg)
