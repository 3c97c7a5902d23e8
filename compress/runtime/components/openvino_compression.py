"""Int8 for OpenVINO graphs by Intel's NNCF, and int4 embedding tables.

Weights are symmetric per output channel, so that a zero stays one. Activations: Jacob et al.,
arXiv:1712.05877; moving their outliers into the weights first: Xiao et al., "SmoothQuant",
arXiv:2211.10438; taking the mean error out of the biases: Nagel et al., arXiv:1906.04721, section
4.2.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from compress.config.errors import UserError
from compress.problem.classification import Classification
from compress.quantizer.int8_static import AUTO, NONE, Int8Static
from compress.runtime.components.int4 import check_sizes, int4_bound
from compress.runtime.components.openvino_codes import GraphCodes, store_codes_
from compress.runtime.components.openvino_graph import OpenVinoSource
from compress.runtime.components.openvino_rounding import (
    LARGEST_WEIGHT,
    check_weights,
    int8_bound,
    matrices,
    static_bound,
)
from compress.serve.openvino import without_telemetry
from compress.system.packages import require
from compress.transformer.blocks import every_linear
from compress.transformer.quantized_embedding import INT4_GROUP_SIZE
from compress.transformer.stacks import embedding_tables, tied_output

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Split

# Operators that may multiply by a weight or look rows up in one.
READERS = ("MatMul", "Gather", "Convolution", "GroupConvolution")
# A row that the group size does not divide is cut into smaller groups, down to this share of it:
# more scales than asked, but not many times more.
SMALLEST_GROUP = 4


def import_nncf() -> Any:
    """Imports nncf at first use, without telemetry and log output.

    Raises:
        UserError: it is not installed.
    """
    require("the openvino runtime", "openvino", "nncf")
    # It puts a logger class of its own in everybody's way.
    logger_class = logging.getLoggerClass()
    try:
        with without_telemetry():
            import nncf
            import nncf.quantization.advanced_parameters
            import nncf.quantization.range_estimator
    finally:
        logging.setLoggerClass(logger_class)
    # Its own set_log_level sets every handler that its logger has, whosever it is.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def compress_weights(source: OpenVinoSource, linears: bool, embeddings: str) -> Any:
    """The graph with integer weights that are dequantized at run time.

    Args:
        source: the float model.
        linears: whether the weight of every Linear becomes int8.
        embeddings: format of the embedding tables: none, int8 or int4.

    Raises:
        UserError: a weight is too large for a float16 scale.
    """
    module, graph = source.model.module, source.graph
    weights = matrices(module)
    check_sizes(weights, "openvino", LARGEST_WEIGHT)
    int4 = table_groups(module, embeddings)
    _store_int4_(source, weights, int4)
    check_weights(source, graph, int4, lambda name, w: int4_bound(w, int4[name]))
    int8 = [name for name, _ in every_linear(module)] if linears else []
    int8 += embedding_tables(module) if embeddings == "int8" else []
    if not int8:
        return graph
    nncf = import_nncf()
    ignored = _ignored(graph, _readers(source, int8), READERS, nncf)
    with _quiet():
        mode = nncf.CompressWeightsMode.INT8_SYM
        graph = nncf.compress_weights(graph, mode=mode, ignored_scope=ignored)
    check_weights(source, graph, int8, lambda _, w: int8_bound(w))
    return graph


def _store_int4_(
    source: OpenVinoSource, weights: Mapping[str, Tensor], groups: Mapping[str, int]
) -> None:
    """Puts int4 codes into the graph for some weights, in groups of a size for each."""
    codes = {name: GraphCodes.int4(weights[name], group) for name, group in groups.items()}
    store_codes_(source.graph, source.places(codes), codes)


def table_groups(model: PreTrainedModel, embeddings: str) -> dict[str, int]:
    """The group size of each embedding table in int4, or none; raises as `fitting_group` does."""
    tables = embedding_tables(model).items() if embeddings == "int4" else ()
    return {name: fitting_group(name, each.embedding_dim, INT4_GROUP_SIZE) for name, each in tables}


def output_groups(model: PreTrainedModel, embeddings: str) -> dict[str, int]:
    """How many weights of an output layer that is the table of tokens share a scale, by its name.

    Empty where there is none, or the table is float.
    """
    tied = tied_output(model)
    if tied is None or embeddings == "none":
        return {}
    output, table = tied
    groups = table_groups(model, embeddings)
    return {output: groups[table] if groups else embedding_tables(model)[table].embedding_dim}


def fitting_group(name: str, columns: int, asked: int) -> int:
    """The largest group size, at most the requested one, that divides a row.

    Raises:
        UserError: it would be many times smaller.
    """
    group = max(size for size in range(1, min(asked, columns) + 1) if columns % size == 0)
    if group * SMALLEST_GROUP < min(asked, columns):
        raise UserError(
            f"the openvino runtime needs groups that divide a row: {name} has {columns} columns, "
            f"quantizer.group_size={asked} allows groups of {group} there"
        )
    return group


def quantize_static(source: OpenVinoSource, how: Int8Static) -> Any:
    """The graph with int8 weights and activations, calibrated row by row.

    Raises:
        UserError: there is no row to calibrate on.
    """
    if not len(source.data.calibration):
        raise UserError("quantizer=int8_static needs calibration rows, the task has none")
    weights = matrices(source.model.module)
    int4 = table_groups(source.model.module, how.embeddings)
    check_sizes({name: weights[name] for name in int4}, "openvino", LARGEST_WEIGHT)
    # First, so that ranges are those of the activations that rounded rows lead to.
    _store_int4_(source, weights, int4)
    with _quiet():
        made = _static(source, how)
    check_weights(
        source,
        made,
        weights,
        lambda name, w: int4_bound(w, int4[name]) if name in int4 else static_bound(w),
    )
    return made


def _static(source: OpenVinoSource, how: Int8Static) -> Any:
    nncf = import_nncf()
    rows = list(_rows(source, source.data.calibration))
    tables = embedding_tables(source.model.module) if how.embeddings == "int8" else {}
    products = [name for name, _ in every_linear(source.model.module)]
    kept = _readers(source, [*tables, *products])
    lookups = set() if tables else _readers(source, embedding_tables(source.model.module))
    settings: dict[str, Any] = {
        "model": source.graph,
        "calibration_dataset": nncf.Dataset(rows),
        "subset_size": len(rows),
        "model_type": nncf.ModelType.TRANSFORMER,
        "target_device": nncf.TargetDevice.CPU,
        "ignored_scope": _ignored(source.graph, kept, ("Gather",), nncf, lookups),
    }
    advanced = _advanced(nncf, how)
    if how.accuracy_drop is None:
        return nncf.quantize(**settings, advanced_parameters=advanced)
    if not isinstance(source.data.problem, Classification):
        raise UserError(
            "quantizer.accuracy_drop needs rows of one class each, got "
            f"{type(source.data.problem).__name__}: set it to null"
        )
    validation = list(_rows(source, source.data.validation))
    return nncf.quantize_with_accuracy_control(
        **settings,
        advanced_quantization_parameters=advanced,
        validation_dataset=nncf.Dataset(validation),
        validation_fn=_hits(source.data.validation.labels.tolist()),
        max_drop=how.accuracy_drop,
    )


def _advanced(nncf: Any, how: Int8Static) -> Any:
    """NNCF's advanced parameters for the settings."""
    parameters = nncf.quantization.advanced_parameters
    estimators = nncf.quantization.range_estimator
    ranges = copy.deepcopy(estimators.RangeEstimatorParametersSet.MINMAX)
    if how.calibration == "percentile":
        ranges = copy.deepcopy(estimators.RangeEstimatorParametersSet.MEAN_QUANTILE)
        at_either_end = (100 - how.percentile) / 200
        ranges.min.quantile_outlier_prob = ranges.max.quantile_outlier_prob = at_either_end
    smooth = parameters.AdvancedSmoothQuantParameters()
    # Layers that go back to float32 for accuracy_drop have weights without SmoothQuant's factors,
    # though their input has them.
    if how.smooth_quant == NONE or (how.smooth_quant == AUTO and how.accuracy_drop is not None):
        smooth.matmul = -1.0  # off
    elif how.smooth_quant != AUTO:
        smooth.matmul = how.smooth_quant
    return parameters.AdvancedQuantizationParameters(
        disable_bias_correction=how.bias_correction is False,
        activations_range_estimator_params=ranges,
        smooth_quant_alphas=smooth,
    )


def _hits(labels: Iterable[int]) -> Any:
    """Accuracy on batches of one row, and whether each row is right."""
    right = list(labels)

    def validate(compiled: Any, rows: Iterable[Any]) -> tuple[float, list[float]]:
        predicted = [int(compiled(row)[0].argmax()) for row in rows]
        hits = [float(p == y) for p, y in zip(predicted, right, strict=False)]
        return sum(hits) / len(hits), hits

    return validate


def _rows(source: OpenVinoSource, split: Split) -> Iterator[dict[str, Any]]:
    """Batches of one row, in the split's order."""
    tokenizer = source.model.tokenizer
    encoded = split.encode(tokenizer).remove_columns("length")
    wanted = {each.get_any_name() for each in source.graph.inputs}
    for row in encoded:
        batch = split.collate(tokenizer, [row])
        yield {name: np.asarray(value) for name, value in batch.items() if name in wanted}


def _readers(source: OpenVinoSource, names: Iterable[str]) -> set[str]:
    """Names of the operators that read the weights of some modules."""
    every = (source.readers[f"{name}.weight"] for name in names if source.reads(name))
    return {operator for readers in every for operator, _ in readers}


def _ignored(
    graph: Any,
    kept: Collection[str],
    kinds: Collection[str],
    nncf: Any,
    others: Collection[str] = (),
) -> Any:
    """NNCF's ignored scope: operators of some types, except those named, and others."""
    nodes = (node for node in graph.get_ops() if node.get_type_name() in kinds)
    names = sorted({node.get_friendly_name() for node in nodes} - set(kept) | set(others))
    return nncf.IgnoredScope(names=names, validate=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides NNCF's progress bars."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
