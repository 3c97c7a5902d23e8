"""Classes that files on disk name by a stable kind.

A model folder contains "torch" or "low_rank_linear", so that module paths are not part of the
format. Classes are imported on demand: a model does not need the libraries of other formats.
"""

from __future__ import annotations

from importlib import import_module

from compress.config.errors import UserError

TORCH = "torch"
RUNTIMES = {
    "onnxruntime": "compress.runtime.onnxruntime.OnnxRuntime",
    "openvino": "compress.runtime.openvino.OpenVino",
    TORCH: "compress.runtime.torch.TorchRuntime",
}
MODULES = {
    "factorized_embedding": "compress.transformer.stored_modules.FactorizedEmbedding",
    "fp8_linear": "compress.quantizer.fp8.Fp8Linear",
    "grouped_linear": "compress.quantizer.components.grouped.GroupedLinear",
    "int4_embedding": "compress.transformer.quantized_embedding.Int4Embedding",
    "int8_dynamic_linear": "compress.quantizer.int8_dynamic.Int8DynamicLinear",
    "int8_embedding": "compress.transformer.quantized_embedding.Int8Embedding",
    "int8_weight_only_linear": "compress.quantizer.int8_weight_only.Int8WeightOnlyLinear",
    "low_rank_linear": "compress.transformer.stored_modules.LowRankLinear",
    "nf4_linear": "compress.quantizer.nf4.Nf4Linear",
    "tied_output": "compress.transformer.quantized_embedding.TiedOutput",
}


def runtime_class(kind: str) -> type:
    """The runtime class of a kind.

    Raises:
        UserError: the kind is unknown.
    """
    return _found("runtime", kind, RUNTIMES)


def module_class(kind: str) -> type:
    """The stored module class of a kind.

    Raises:
        UserError: the kind is unknown.
    """
    return _found("stored module", kind, MODULES)


def _found(what: str, kind: str, table: dict[str, str]) -> type:
    if kind not in table:
        allowed = ", ".join(table)
        raise UserError(f"the model folder names the {what} {kind!r}; allowed: {allowed}")
    module, _, name = table[kind].rpartition(".")
    found: type = getattr(import_module(module), name)
    return found
