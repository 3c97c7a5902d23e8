"""Do equal graphs take equal time? `python -m benchmarks.equal_graphs docs/equal_graphs.md`.

MiniLM-L6 beside the same graph with other weights: some set to zero, random ones, and subnormal
numbers. Each is exported, reloaded and timed in turns with the original, as a run is with its
baseline: a ratio of 1 is equal time. The first row of each format is the original against itself.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.build import build_run
from compress.config.compose import CONF, compose_config
from compress.core.monitor import UNWATCHED
from compress.interfaces import CompressedModel, Device, Quantizer, StageContext
from compress.measure.environment import machine
from compress.measure.latency import TimedModel, fill_shapes, measure_latency
from compress.measure.sharing import model_graph
from compress.measure.sparsity import count_weights
from compress.stage.stages import begin, load_measured, write
from compress.store.cache import StageStore
from compress.system.files import scratch_folder

FORMATS = (
    ("cpu", "none"),
    ("cpu", "int8_dynamic"),
    ("cpu", "bf16"),
    ("cpu_onnxruntime", "none"),
    ("cpu_onnxruntime", "int8_dynamic"),
    ("cpu_openvino", "none"),
    ("cpu_openvino", "int8_static"),
)
SUBNORMAL = 1e-40
log = logging.getLogger(__name__)
SHAPES = "device.benchmark.shapes=[[1,32],[32,32]]"
HEAD = """\
# Equal graphs, equal times?

Made by `python -m benchmarks.equal_graphs {arguments}`; {machine}; torch {torch}.
MiniLM-L6 with other weights beside the original, exported, reloaded, and timed in turns: time of
the original divided by the other's, with 95 % intervals. "Shares" says whether a run would take
over the original's timing ([measurement](measurement.md)).

| format | change of the weights | at 1×32 | at 32×32 | subnormal weights on disk | shares |
| --- | --- | --- | --- | --- | --- |
"""


def zeros(share: float) -> Callable[[PreTrainedModel, int], None]:
    """Sets the smallest weights of every matrix to zero."""

    def change_(module: PreTrainedModel, seed: int) -> None:
        for weight in matrices(module):
            count = max(1, int(share * weight.numel()))
            weight[weight.abs() <= weight.abs().flatten().kthvalue(count).values] = 0

    return change_


def random_(module: PreTrainedModel, seed: int) -> None:
    """Draws all matrices anew, with the spread that each has."""
    generator = torch.Generator().manual_seed(seed)
    for weight in matrices(module):
        weight.copy_(torch.randn(weight.shape, generator=generator) * weight.std())


def subnormal(share: float) -> Callable[[PreTrainedModel, int], None]:
    """Makes a random share of the weights subnormal numbers."""

    def change_(module: PreTrainedModel, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in matrices(module):
            weight[torch.rand(weight.shape, generator=generator) < share] = SUBNORMAL

    return change_


CHANGES: dict[str, Callable[[PreTrainedModel, int], None]] = {
    "none": lambda module, seed: None,
    "50 % zeros": zeros(0.5),
    "90 % zeros": zeros(0.9),
    "random weights": random_,
    "1 % subnormal weights": subnormal(0.01),
}


def matrices(module: PreTrainedModel) -> list[torch.Tensor]:
    """The weights of all Linear layers in the encoder."""
    layers = [part for part in module.base_model.modules() if isinstance(part, nn.Linear)]
    return [layer.weight.data for layer in layers]


def rows(
    device: Device, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> Iterator[list[str]]:
    """A row of the table for every change of the weights."""
    made: list[TimedModel] = []
    graphs: list[str] = []
    for number, (name, change_) in enumerate(CHANGES.items()):
        module = copy.deepcopy(ctx.teacher.module)
        with torch.no_grad():
            change_(module, number)
        own = folder / str(number)
        model = CompressedModel(module, ctx.teacher.tokenizer, ctx.teacher.history)
        write(model, quantizer, ctx, own)
        loaded = load_measured(own, device).model
        shapes = fill_shapes(loaded, ctx.data.calibration, device.benchmark.shapes)
        made.append(TimedModel(own, shapes))
        subnormal = count_weights(loaded.weights(), set()).subnormal
        graphs.append(model_graph(own, subnormal=subnormal))
        timings = measure_latency(made[-1], made[0], device, seed=0).shapes
        ratios = ["{:.3f} ({:.3f} to {:.3f})".format(*each.interval(0)) for each in timings]
        shared = "yes" if graphs[-1] == graphs[0] else "no"
        yield [name, *ratios, "yes" if subnormal else "no", shared]


def main() -> None:
    """Times all and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--formats", nargs="*", help="such as cpu/none; all by default")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each ratio")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = {"arguments": " ".join(sys.argv[1:]), "machine": machine(), "torch": torch.__version__}
    lines = [*HEAD.format(**words).splitlines()]
    for pair in FORMATS:
        if arguments.formats and "/".join(pair) not in arguments.formats:
            continue
        device_choice, quantizer_choice = pair
        overrides = [f"device={device_choice}", f"quantizer={quantizer_choice}"]
        overrides += ["task.limit=300", SHAPES]
        run = build_run(compose_config(CONF, overrides))
        benchmark = replace(run.device.benchmark, seconds=arguments.seconds, process_restarts=3)
        device = replace(run.device, benchmark=benchmark)
        with scratch_folder() as folder, device.session():
            store = StageStore(folder / "cache", device, 0)
            ctx = begin(replace(run, device=device), run.task.load().training, store, UNWATCHED)
            for row in rows(device, run.quantizer, ctx, folder):
                lines.append(f"| {'/'.join(pair)} | {' | '.join(row)} |")
                log.info(lines[-1])
    arguments.page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
