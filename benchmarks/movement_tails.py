"""What movement pruning's scores pick: `python benchmarks/movement_tails.py docs/movement.md`.

Trains MiniLM-L6 on rotten_tomatoes with scores and without any mask, then zeroes a share of each
layer's weights in one go: those with the lowest scores, with the highest, at random, or with the
smallest magnitude. All choices but the last take the same share of Σw².
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from compress.build import build_run
from compress.config.compose import CONF, compose_config
from compress.interfaces import CompressedModel, StageContext, TrainingData
from compress.measure.environment import machine
from compress.measure.score import predict_all, score
from compress.pruner.components.masks import keep_highest
from compress.pruner.movement import LearnedMasks, Movement
from compress.training.distillation import distillation_row_loss, on_logits
from compress.training.train import train_
from compress.transformer.blocks import scoped_linears
from compress.transformer.torch_model import TorchModel

# The ramp begins after the last step: scores are learned, nothing is masked.
OVERRIDES = (
    "pruner=movement",
    "pruner.schedule.start=0.999",
    "pruner.schedule.end=1.0",
    "pruner.training.epochs=1",
)
SHARES = (0.05, 0.11, 0.2, 0.3)
Rank = Callable[[Tensor, Tensor], Tensor]  # scores, weights → what is lowest goes first
DRAWS = torch.Generator().manual_seed(0)
CHOICES: dict[str, Rank] = {
    "lowest score (movement's choice)": lambda scores, _: scores,
    "highest score": lambda scores, _: -scores,
    "at random": lambda scores, _: torch.rand(scores.shape, generator=DRAWS),
    "smallest magnitude": lambda _, weight: weight.abs(),
}


def main() -> None:
    """Trains, zeroes, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="the Markdown file to write")
    table: Path = parser.parse_args().table
    warnings.simplefilter("ignore")
    run = build_run(compose_config(CONF, OVERRIDES))
    with (
        tempfile.TemporaryDirectory() as scratch,
        run.device.session(),
        run.cache.open(Path(scratch), run.device, run.seed) as store,
    ):
        training = run.task.load().training
        teacher = store.model(
            "teacher",
            run.teacher,
            {"rows": training.digest},
            lambda: run.teacher.load(training, run.device, run.seed),
        )
        assert isinstance(run.pruner, Movement)
        ctx = StageContext(teacher, training, run.device, run.seed, store)
        trained, scores = train_scores(teacher, run.pruner, ctx)
    table.write_text("\n".join(page(trained, scores, training)) + "\n")


def train_scores(
    teacher: CompressedModel, pruner: Movement, ctx: StageContext
) -> tuple[CompressedModel, dict[str, Tensor]]:
    """The trained model, no weight masked, and the score of every weight by layer."""
    module = copy.deepcopy(teacher.module)
    learned = LearnedMasks(scoped_linears(module, pruner.scope), pruner)
    objective = learned.objective(on_logits(distillation_row_loss(pruner.training, ctx)))
    settings = pruner.training
    train_(module, teacher.tokenizer, ctx.data, settings, objective, device=ctx.device, seed=0)
    for name, part in learned.masks.items():
        part.mask.fill_(True)
        parametrize.remove_parametrizations(module.get_submodule(name), "weight")
    scores = {name: part.scores.detach() for name, part in learned.masks.items()}
    return CompressedModel(module, teacher.tokenizer, ()), scores


def accuracy(model: CompressedModel, data: TrainingData) -> float:
    """On the validation split: nothing is reported of the model but this table."""
    model_here = TorchModel(model.module.eval(), model.tokenizer, "cpu")
    rows = data.validation
    return score(predict_all(model_here, rows, 32), rows, 32, data.problem).value


def zeroed(
    model: CompressedModel, scores: dict[str, Tensor], rank: Rank, share: float
) -> CompressedModel:
    """A copy in which this share of each layer's weights is zero."""
    module = copy.deepcopy(model.module)
    for name, values in scores.items():
        weight = module.get_parameter(f"{name}.weight")
        with torch.no_grad():
            weight.mul_(keep_highest(rank(values, weight), share))
    return CompressedModel(module, model.tokenizer, ())


def page(model: CompressedModel, scores: dict[str, Tensor], data: TrainingData) -> list[str]:
    """The table as Markdown."""
    lines = [
        "# Weights that movement's scores select",
        "",
        "Made by `python benchmarks/movement_tails.py docs/movement.md`. MiniLM-L6 on "
        f"rotten_tomatoes, validation split (n = {len(data.validation)}); {machine()}.",
        f"After an epoch of learning scores with nothing masked: {accuracy(model, data):.3f}. "
        "Then, in one go and without further training, a share of each layer's weights is zeroed:",
        "",
        "| zeroed | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |",
        "| --- |" + " --- |" * len(SHARES),
    ]
    for name, rank in CHOICES.items():
        cells = [f"{accuracy(zeroed(model, scores, rank, share), data):.3f}" for share in SHARES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
