"""Rounding beside the authors' code: `python -m benchmarks.rounding PAGE MODEL TEXT --gptq DIR …`.

MODEL is the folder of a causal language model of Llama's kind, TEXT a file. Each Linear of some
layers is rounded on what it reads in the float model, by the formulas here and by checkouts of
`--gptq` (github.com/IST-DASLab/gptq), `--awq` (mit-han-lab/llm-awq), `--hqq` (mobiusml/hqq). What
is compared is ‖(W − Ŵ)X‖² / ‖WX‖² in float32, over the same tokens. AWQ's authors choose scales for
layers together, see `compress/quantizer/awq.py`. The code of HQQ needs termcolor.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import torch
import transformers
from torch import Tensor, nn

from compress.measure.environment import machine
from compress.quantizer.awq import scaled_codes
from compress.quantizer.components.calibrated import output_error
from compress.quantizer.gptq import round_columns
from compress.quantizer.hqq import fitted_codes
from compress.report.tables import markdown_table
from compress.report.written import check_page
from compress.transformer.calibration import Moments
from compress.transformer.packing import Grid, decode_groups

TITLE = "# Rounding beside the authors' code"
BITS = (4, 3)


class Pair(NamedTuple):
    """Relative errors of a layer, and what rounding it took."""

    ours: float
    seconds: float
    theirs: float
    their_seconds: float


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    for name in ("gptq", "awq", "hqq"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a checkout")
    parser.add_argument("--rows", type=int, default=32, help="windows of the text")
    parser.add_argument("--length", type=int, default=256, help="tokens of each")
    parser.add_argument("--group-size", type=int, default=64, help="has to divide every row")
    arguments = parser.parse_args()
    check_page(arguments.page, TITLE)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    ids = tokenizer(arguments.text.read_text(encoding="utf-8"), return_tensors="pt").input_ids[0]
    count = arguments.rows * arguments.length
    windows = ids[:count].view(arguments.rows, arguments.length)
    page = [TITLE, "", f"Made by `python -m benchmarks.rounding {' '.join(sys.argv[1:])}`.", ""]
    page += list(_page(model.eval(), windows, arguments))
    arguments.page.write_text("\n".join(page) + "\n", encoding="utf-8")


def _page(
    model: transformers.PreTrainedModel, windows: Tensor, arguments: argparse.Namespace
) -> Iterator[str]:
    layers = model.get_decoder().layers
    chosen = sorted({0, len(layers) // 2, len(layers) - 1})
    yield f"Machine: {machine()}; torch {torch.__version__}."
    yield f"{arguments.model.name}, layers {', '.join(map(str, chosen))},"
    yield f"{windows.numel():,} tokens, groups of {arguments.group_size}. Figures are"
    yield "‖(W − Ŵ)X‖² / ‖WX‖² in percent: the mean over the Linear layers of these layers, and"
    yield "ours over theirs, the median and the largest; seconds are for all of them."
    found: dict[tuple[str, int], list[Pair]] = {}
    for index in chosen:
        for key, pair in _pairs(layers[index], *_read(model, layers[index], windows), arguments):
            found.setdefault(key, []).append(pair)
            print(index, *key, *pair, flush=True)  # noqa: T201
    yield ""
    titles = ["method", "bits", "ours", "theirs", "median ratio", "largest", "s", "theirs, s"]
    yield from markdown_table(titles, [_row(*each) for each in found.items()])


def _pairs(
    layer: nn.Module, read: Mapping[str, Tensor], given: Any, arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, int], Pair]]:
    """By method and bits, both ways to round each Linear."""
    for bits in BITS:
        grid = Grid(bits, arguments.group_size, False)
        for title, *methods in _methods(arguments, layer, read, given):
            for name, linear in _linears(layer).items():
                weight, statistic = linear.weight.detach(), _moments(read[name])
                whole, figures = output_error(weight, statistic.moment), []
                for method in methods:
                    began = time.perf_counter()
                    made = method(name, weight.clone(), statistic, grid)
                    seconds = time.perf_counter() - began
                    error = output_error(weight - made, statistic.moment) / whole
                    figures += [error, seconds]
                yield (title, bits), Pair(*figures)


def _row(key: tuple[str, int], pairs: list[Pair]) -> list[str]:
    ratios = [pair.ours / pair.theirs for pair in pairs]
    return [
        key[0],
        str(key[1]),
        f"{100 * statistics.fmean(pair.ours for pair in pairs):.3f}",
        f"{100 * statistics.fmean(pair.theirs for pair in pairs):.3f}",
        f"{statistics.median(ratios):.3f}",
        f"{max(ratios):.3f}",
        f"{sum(pair.seconds for pair in pairs):.1f}",
        f"{sum(pair.their_seconds for pair in pairs):.1f}",
    ]


def _methods(
    arguments: argparse.Namespace, layer: nn.Module, read: Mapping[str, Tensor], inputs: Any
) -> Iterator[tuple[str, Any, Any]]:
    """Title, our and their way to round a weight, each from name, weight, statistics and grid."""
    awq = _Awq(arguments.awq, layer, read, inputs)
    for title, act_order in (("GPTQ", False), ("GPTQ, act_order", True)):
        yield title, _gptq(act_order), _their_gptq(arguments.gptq, read, act_order)
    yield "AWQ", _awq, awq
    yield "HQQ", _hqq, _their_hqq(arguments.hqq)
    yield "GPTQ, act_order / rounding to nearest", _gptq(True), _nearest


def _nearest(name: str, weight: Tensor, _: Moments, grid: Grid) -> Tensor:
    scale, zero = grid.fit(weight)
    return decode_groups(grid.encode(weight, scale, zero), scale, zero, grid.group_size)


def _gptq(act_order: bool) -> Any:
    def method(name: str, weight: Tensor, statistic: Moments, grid: Grid) -> Tensor:
        moment = statistic.moment.clone()
        found = round_columns(
            weight, moment, grid, damping=0.01, block_size=128, act_order=act_order, clip=False
        )
        return decode_groups(*found, grid.group_size)

    return method


def _awq(name: str, weight: Tensor, statistic: Moments, grid: Grid) -> Tensor:
    found = scaled_codes(weight, statistic, grid, clip=True)
    made = decode_groups(found.codes, found.scale, found.zero, grid.group_size)
    return made / found.columns.float()


def _hqq(name: str, weight: Tensor, _: Moments, grid: Grid) -> Tensor:
    codes, scale, zero = fitted_codes(weight, grid, 20)
    return decode_groups(codes, scale, zero.float(), grid.group_size)


def _their_gptq(checkout: Path, read: Mapping[str, Tensor], act_order: bool) -> Any:
    with importable(checkout):
        module, quant = importlib.import_module("gptq"), importlib.import_module("quant")

    def method(name: str, weight: Tensor, _: Moments, grid: Grid) -> Tensor:
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        solver = module.GPTQ(linear)
        solver.quantizer = quant.Quantizer()
        solver.quantizer.configure(grid.bits, perchannel=True, sym=False, mse=False)
        solver.add_batch(read[name], None)
        with mock.patch("torch.cuda.synchronize"), mock.patch("builtins.print"):
            solver.fasterquant(
                percdamp=0.01,
                groupsize=grid.group_size,
                actorder=act_order,
                static_groups=act_order,
            )
        return linear.weight.detach()

    return method


def _their_hqq(checkout: Path) -> Any:
    with importable(checkout):
        quantize = importlib.import_module("hqq.core.quantize").Quantizer

    def method(name: str, weight: Tensor, _: Moments, grid: Grid) -> Tensor:
        codes, meta = quantize.quantize(
            weight, nbits=grid.bits, group_size=grid.group_size, axis=1, round_zero=grid.bits == 4,
            bitpack=False, device="cpu",
        )  # fmt: skip
        made: Tensor = (codes - meta["zero"]) * meta["scale"]
        return made.reshape(weight.shape)

    return method


class _Awq:
    """The weights that a layer would compute with after its scales and clips, by name."""

    def __init__(
        self, checkout: Path, layer: nn.Module, read: Mapping[str, Tensor], inputs: Any
    ) -> None:
        kernels = {"awq_inference_engine": ModuleType("awq_inference_engine")}
        with importable(checkout), mock.patch.dict(sys.modules, kernels):
            self._scale = importlib.import_module("awq.quantize.auto_scale")
            self._clip = importlib.import_module("awq.quantize.auto_clip")
            self._round = importlib.import_module("awq.quantize.quantizer").pseudo_quantize_tensor
            # Its functions import more of it.
            self._modules = {
                name: module for name, module in sys.modules.items() if name.startswith("awq")
            }
        self._layer, self._read, self._inputs = layer, read, inputs
        self._made: dict[int, dict[str, Tensor]] = {}

    def __call__(self, name: str, weight: Tensor, _: Moments, grid: Grid) -> Tensor:
        """The weight."""
        if grid.bits not in self._made:
            self._made[grid.bits] = self._whole(grid)
        return self._made[grid.bits][name]

    @torch.no_grad()
    def _whole(self, grid: Grid) -> dict[str, Tensor]:
        before = {name: value.clone() for name, value in self._layer.state_dict().items()}
        bits, config = grid.bits, {"zero_point": True, "q_group_size": grid.group_size}
        features = {name: x.clone() for name, x in self._read.items()}
        with (
            mock.patch.dict(sys.modules, self._modules),
            mock.patch.object(nn.Module, "cuda", lambda module: module),
            mock.patch.object(Tensor, "cuda", lambda tensor: tensor),
        ):
            scales = self._scale.auto_scale_block(
                self._layer, self._inputs, w_bit=bits, q_config=config, input_feat=features
            )
            self._scale.apply_scale(self._layer, scales, input_feat_dict=features)
            clips = self._clip.auto_clip_block(self._layer, bits, config, features)
            self._clip.apply_clip(self._layer, clips)
        made = {
            name: self._round(linear.weight.data, n_bit=bits, **config)
            for name, linear in _linears(self._layer).items()
        }
        for before_it, names, scale in scales:
            for name in names:
                made[name] = made[name] / scale
            if before_it in made:  # a Linear, whose rows were divided instead of a norm
                made[before_it] = made[before_it] * scale[:, None]
        self._layer.load_state_dict(before)
        return made


@torch.no_grad()
def _read(
    model: transformers.PreTrainedModel, layer: nn.Module, windows: Tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What each Linear of a layer reads, windows × length × in, and the layer's other arguments."""
    found: dict[str, list[Tensor]] = {}
    given: dict[str, Any] = {}
    hooks = [
        linear.register_forward_pre_hook(
            lambda _, inputs, name=name: found.setdefault(name, []).append(inputs[0])
        )
        for name, linear in _linears(layer).items()
    ]

    def keep(module: nn.Module, positional: Any, named: dict[str, Any]) -> None:
        given.update(named)

    hooks.append(layer.self_attn.register_forward_pre_hook(keep, with_kwargs=True))  # type: ignore[union-attr,arg-type]
    for window in windows:
        model(window[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    given.pop("hidden_states", None)
    return {name: torch.cat(parts) for name, parts in found.items()}, given


def _moments(x: Tensor) -> Moments:
    tokens = x.flatten(0, 1)
    return Moments(tokens.T @ tokens, tokens.abs().mean(dim=0))


def _linears(layer: nn.Module) -> dict[str, nn.Linear]:
    return {name: part for name, part in layer.named_modules() if isinstance(part, nn.Linear)}


@contextmanager
def importable(checkout: Path) -> Iterator[None]:
    """Within it, the code of a checkout can be imported by name."""
    sys.path.insert(0, str(checkout))
    try:
        yield
    finally:
        sys.path.remove(str(checkout))


if __name__ == "__main__":
    main()
