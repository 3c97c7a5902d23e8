"""The columns of the matrix, found by listing `conf`: each choice alone, the rest left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compress.interfaces import Quantizer, Runtime
from compress.system.packages import choice_name
from tests.configs import settings_of, yaml_names

PLAIN = "nothing"
# The processor of the runs, and its runtimes; another processor is not here to be tried.
DEVICES = tuple(name for name in yaml_names("device") if name.startswith("cpu"))
# What a choice needs to be put to work on models this small, and to train as little as it can.
SETTINGS = {
    "student=layers": ("student.distillation.epochs=0",),
    "student=pretrained": ("student.path={other}", "student.distillation.epochs=0"),
    "student=scratch": (
        *("student.layers=2", "student.hidden=16", "student.heads=2", "student.neurons=32"),
        *("student.distillation.epochs=1", "student.distillation.batch_size=8"),
    ),
    "student=supernet": (
        *("student.supernet.epochs=1", "student.supernet.batch_size=8"),
        "student.sub.depth=2",
    ),
    "pruner=gradual": (
        *(
            "pruner.training.epochs=1",
            "pruner.training.batch_size=8",
            "pruner.schedule.frequency=1",
        ),
    ),
    "pruner=movement": ("pruner.training.epochs=1", "pruner.training.batch_size=8"),
    "quantizer=qat_int8": ("quantizer.training.epochs=1", "quantizer.training.batch_size=8"),
}
# More than a choice's defaults: which layers stay, and whether the first does, is distinguished.
VARIANTS = {
    "layers [1, 3]": ("student", "student=layers", "student.keep=[1,3]"),
    "layers [0]": ("pruner", "pruner=layers", "pruner.drop=[0]"),
}


@dataclass(frozen=True)
class Stage:
    """One column.

    Attributes:
        group: the group that it is a choice of.
        title: names it within its table.
        choice: as an override such as "pruner=wanda".
        settings: more overrides.
        device: the choice of device.
        runtime: the name of the device's runtime.
    """

    group: str
    title: str
    choice: str
    settings: tuple[str, ...] = ()
    device: str = "cpu"
    runtime: str = "torch"

    @property
    def name(self) -> str:
        """Names it among all."""
        return f"{self.runtime} {self.group}={self.title}"

    @property
    def plain(self) -> bool:
        """Whether nothing is done to the model at all."""
        return self.title == PLAIN

    @property
    def overrides(self) -> tuple[str, ...]:
        """Those of a run that does this and nothing else."""
        return (f"device={self.device}", self.choice, *self.settings)


def every_stage() -> list[Stage]:
    """Every choice of student and pruner in torch, and every format of every runtime."""
    found = [Stage("quantizer", PLAIN, "quantizer=none")]
    for group in ("student", "pruner"):
        names = (name for name in yaml_names(group) if name != "none")
        found += [_stage(group, name, f"{group}={name}") for name in names]
        found += [
            _stage(group, title, choice, setting)
            for title, (owner, choice, setting) in VARIANTS.items()
            if owner == group
        ]
    return [*found, *_formats()]


def _formats() -> Iterator[Stage]:
    """The formats that each runtime has."""
    for device in DEVICES:
        runtime = _runtime(device)
        for name in yaml_names("quantizer"):
            choice = f"quantizer={name}"
            offered = runtime.supports(type(_quantizer(name)))
            if offered and (device, name) != ("cpu", "none"):
                settings = SETTINGS.get(choice, ())
                title = choice_name(type(runtime))
                yield Stage("quantizer", name, choice, settings, device, title)


def _stage(group: str, title: str, choice: str, *settings: str) -> Stage:
    return Stage(group, title, choice, (*SETTINGS.get(choice, ()), *settings))


def _runtime(device: str) -> Runtime:
    found: Runtime = settings_of("device", device).runtime  # type: ignore[attr-defined]
    return found


def _quantizer(name: str) -> Quantizer:
    found = settings_of("quantizer", name, *SETTINGS.get(f"quantizer={name}", ()))
    assert isinstance(found, Quantizer)
    return found


def weight_bits(stage: Stage) -> int:
    """Bits of a Linear weight in the stage's format."""
    return _quantizer(stage.title).weight_bits
