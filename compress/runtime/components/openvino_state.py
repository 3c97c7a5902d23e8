"""OpenVINO graphs of language models that keep their keys and values from call to call.

Inputs and outputs for a KV cache become state inside the graph, as optimum-intel exports it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.serve.openvino import import_openvino
from compress.serve.session import PAST, PRESENT


def keep_state_(graph: Any) -> None:
    """Makes keys and values the graph's own state, which begins without a token.

    Args:
        graph: with inputs named as `traced.py` names them, or none of these; changed.
    """
    names = [each.get_any_name() for each in graph.inputs]
    pairs = {name: PRESENT + name.removeprefix(PAST) for name in names if name.startswith(PAST)}
    if not pairs:
        return
    opset = import_openvino().opset13
    from openvino.passes import MakeStateful, Manager

    manager = Manager()
    manager.register_pass(MakeStateful(pairs))
    manager.run_passes(graph)
    # Else a state begins with 0 rows, and what is computed from its shape fails.
    sizes = opset.shape_of(graph.input("input_ids"), output_type="i64")
    batch = opset.gather(sizes, opset.constant([0]), opset.constant(0))
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            _, heads, _, width = node.get_output_partial_shape(0)
            rest = np.array([heads.get_length(), 0, width.get_length()], dtype=np.int64)
            shape = opset.concat([batch, opset.constant(rest)], axis=0)
            node.set_arguments([opset.broadcast(opset.constant(np.float32(0)), shape)])
    graph.validate_nodes_and_infer_types()
