"""Inputs that OpenVINO rounds to int8 as they come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.measure.reload import check_reload
from compress.measure.score import predict_all
from compress.runtime.components import openvino_activations
from compress.runtime.components.openvino_activations import check_sizes
from compress.runtime.openvino import OpenVino
from compress.store.artifact import load
from tests.configs import settings_of
from tests.runtime.openvino_models import Contexts, quantizer_of
from tests.slow import slow_but

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")

ROUNDS = OpenVino(specialize=True, activation_group=16)
FORMATS = ["int8_weight_only", "rtn group_size=16", "awq group_size=16 embeddings=int4"]


@pytest.mark.parametrize("name", slow_but(FORMATS[1:2], FORMATS))
def test_logits_are_near_and_not_the_same(
    name: str, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    if not openvino_activations._rounds(16):
        pytest.skip("this processor has no kernels for it")
    choice, *overrides = name.split()
    quantizer, ctx = quantizer_of(choice, *overrides), context(biased)
    model = quantizer.prepare(biased, ctx)
    exported = ROUNDS.export(model, quantizer, tmp_path, ctx)
    found = load(tmp_path)
    check_reload(exported, found, ctx.data.calibration)
    pair = [predict_all(each, ctx.data.validation, 4) for each in (exported.reference, found)]
    assert 1e-5 < float((pair[0] - pair[1]).abs().max()) < 0.02
    assert (found.precision, exported.rounds_activations) == ("int8", True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "none",
            "needs a format that rounds weights alone, .*: awq, gptq, hqq, int8_weight_only, ",
        ),
        ("int8_static", "got quantizer=int8_static"),
    ],
)
def test_other_formats_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ROUNDS.check(quantizer_of(name), settings_of("device", "cpu_openvino"))  # type: ignore[arg-type]


def test_a_processor_without_the_kernels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_activations, "_rounds", lambda group: False)
    with pytest.raises(UserError, match="activation_group=16 has no effect in OpenVINO on this"):
        ROUNDS.check(quantizer_of("rtn"), settings_of("device", "cpu_openvino"))  # type: ignore[arg-type]


def test_groups_that_do_not_divide_are_refused(biased: CompressedModel) -> None:
    # Rows of 16 and 32 weights: OpenVINO would compute as if nothing were asked for.
    runtime = replace(ROUNDS, activation_group=32)
    message = r"activation_group=32 has no effect on bert\S*, whose scales are for 16 weights each"
    with pytest.raises(UserError, match=message):
        runtime.check_model(biased.module, quantizer_of("int8_weight_only"))
    ROUNDS.check_model(biased.module, quantizer_of("int8_weight_only"))
    with pytest.raises(UserError, match="must divide them, as 16, 32 would"):
        check_sizes(64, {"dense": 96})


def test_an_output_layer_that_is_the_table_counts() -> None:
    sizes = {"vocab_size": 99, "n_positions": 8, "n_embd": 64, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    runtime = replace(ROUNDS, activation_group=64)
    runtime.check_model(model, quantizer_of("int8_weight_only", "embeddings=int8"))
    with pytest.raises(UserError, match="no effect on lm_head, whose scales are for 32 weights"):
        runtime.check_model(model, quantizer_of("int8_weight_only", "embeddings=int4"))
