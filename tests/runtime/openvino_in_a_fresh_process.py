"""Exports, quantizes, loads and predicts with sockets forbidden; says "ok"."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any


def refuse(*arguments: Any) -> None:
    raise AssertionError(f"somebody connects to {arguments[1:]}")


def main(folder: Path) -> None:
    """Goes all the way once."""
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = refuse  # type: ignore[assignment]

    import compress
    import compress.runtime.openvino

    assert not {"openvino", "nncf"} & set(sys.modules)

    from compress.interfaces import StageContext, TrainingData
    from compress.problem.classification import Classification
    from tests.configs import settings_of
    from tests.tiny import ROWS, make_split, tiny_teacher

    splits = {name: make_split(count, name) for name, count in ROWS.items()}
    data = TrainingData(problem=Classification(("sad", "glad")), **splits)
    device: Any = settings_of("device", "cpu_openvino")
    quantizer: Any = settings_of("quantizer", "int8_static")
    model = tiny_teacher("bert", layers=1).load(data, device, 0)
    ctx = StageContext(model, data, device, 0, None)  # type: ignore[arg-type]
    device.runtime.check(quantizer, device)
    device.runtime.export(model, quantizer, folder, ctx)
    loaded = compress.load(folder)
    encoded = data.validation.encode(model.tokenizer).remove_columns("length")
    batch = data.validation.collate(model.tokenizer, [encoded[0]])
    logits = loaded.predict({name: tensor.numpy() for name, tensor in batch.items()})
    assert logits.shape == (1, 2)
    assert "openvino_telemetry" not in sys.modules


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.write("ok\n")
