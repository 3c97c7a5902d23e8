"""The learning curve of one training: what is kept of it, and where in a model's history."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from compress.config.errors import Diverged

if TYPE_CHECKING:
    from torch import Tensor

SUPERNET = "supernet"  # the stage inside a student's that trains the model it is cut out of
# Notes of a step that have its curves, in the order of its trainings.
SUPERNET_CURVE, MATCHING_CURVE, CURVE = "supernet_curve", "matching_curve", "curve"
CURVES = (SUPERNET_CURVE, MATCHING_CURVE, CURVE)
POINTS = 100
DIGITS = 6  # the rest of a loss is noise of the order of additions, and makes records longer


@dataclass(frozen=True)
class CurvePoint:
    """What a training had come to after a step.

    Attributes:
        step: of the optimizer, from 1.
        epoch: passes over the train split so far.
        loss: mean of what was minimized, over the steps since the last point that has one; null
            where only validation was done.
        validation_loss: mean cross entropy with the labels on the validation split, of the averaged
            weights if the training averages them; null unless the training stops early by it, which
            it looks at after each epoch.
    """

    step: int
    epoch: float
    loss: float | None
    validation_loss: float | None


class CurveRecorder:
    """Draws the curve of a training while it runs; changes nothing in it, but ends a diverged one.

    At most 100 points bear a loss, evenly spaced, one for each step of a short training.
    """

    def __init__(self, tell: Callable[[CurvePoint], None]) -> None:
        """An empty curve; `tell` hears of each point, and of a validation apart from the loss."""
        self.points: list[CurvePoint] = []
        self._tell = tell
        self._sum: Tensor | float = 0.0
        self._steps = 0

    def add(self, loss: Tensor) -> None:
        """Takes the loss of a step's batch, or of a part of it, wherever it lies."""
        self._sum = self._sum + loss.detach().float()
        self._steps += 1

    def end_step(self, step: int, steps: int, epoch: float) -> None:
        """Makes a point of the steps since the last one, if it is time: `step` of `steps` are done.

        Raises:
            Diverged: a loss is not finite.
        """
        # Waits for the device after every step, as Trainer does for a test of its own.
        loss = float(self._sum) / max(self._steps, 1)
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss}")
        if step % math.ceil(steps / POINTS) and step < steps:
            return
        point = CurvePoint(step, round(epoch, 4), _finite(loss), None)
        self._sum, self._steps = 0.0, 0
        self.points.append(point)
        self._tell(point)

    def last_loss(self) -> float | None:
        """The loss of the last point that bears one; None before."""
        return next((p.loss for p in reversed(self.points) if p.loss is not None), None)

    def validate(self, step: int, epoch: float, loss: float) -> None:
        """Takes the validation loss after a step; joins it to the step's point if there is one."""
        point = CurvePoint(step, round(epoch, 4), None, _finite(loss))
        if self.points and self.points[-1].step == step:
            last = self.points.pop()
            self.points.append(replace(last, validation_loss=point.validation_loss))
        else:
            self.points.append(point)
        self._tell(point)


def curve_notes(curve: Sequence[CurvePoint], note: str = CURVE) -> dict[str, Any]:
    """What a step notes of a training, by one of `CURVES`; nothing if there was none."""
    return {note: [asdict(point) for point in curve]} if curve else {}


def curves(history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[CurvePoint]]]:
    """The curves in a record's history, each by the name of its training, see `training_name`.

    A teacher that was compressed before brings the history of that along; it is left out.

    Raises:
        ValidationError: a curve is none of this version.
    """
    stages = [step["stage"] for step in history]
    own = len(stages) - stages[::-1].index("teacher") - 1 if "teacher" in stages else 0
    seen: list[str] = []
    for step in history[own:]:
        notes = step.get("notes") or {}
        for note in CURVES:
            if noted := notes.get(note):
                stage = SUPERNET if note == SUPERNET_CURVE else step["stage"]
                seen.append(stage)
                name = training_name(stage, seen.count(stage))
                yield name, TypeAdapter(list[CurvePoint]).validate_python(noted)


def training_name(stage: str, number: int) -> str:
    """What a training is called: "pruner", and "pruner_2" the stage's second."""
    return stage if number == 1 else f"{stage}_{number}"


def _finite(loss: float) -> float | None:
    return float(f"{loss:.{DIGITS}g}") if math.isfinite(loss) else None
