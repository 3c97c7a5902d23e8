"""Which numeric formats each runtime supports."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import TypeVar

import compress.quantizer
import compress.runtime
from compress.config.errors import ConfigError
from compress.interfaces import Pruner, Quantizer, Runtime
from compress.system.packages import choice_name

Choice = TypeVar("Choice", Quantizer, Runtime)


def check_pair(runtime: type[Runtime], quantizer: type[Quantizer]) -> None:
    """Rejects a format that a runtime does not support, naming the supported pairs.

    Raises:
        ConfigError: that is the case.
    """
    if runtime.supports(quantizer):
        return
    runtimes = [name for name, each in every_runtime() if each.supports(quantizer)]
    formats = [name for name, each in every_quantizer() if runtime.supports(each)]
    name, where = choice_name(quantizer), choice_name(runtime)
    raise ConfigError(
        f"quantizer={name} is not supported by the {where} runtime; supported: "
        f"{', '.join(runtimes) or 'none'}; {where} has {', '.join(formats)}"
    )


def check_zeros(pruner: Pruner, quantizer: Quantizer) -> None:
    """Checks that a format keeps what a pruner sets to zero.

    Raises:
        ConfigError: it does not.
    """
    if pruner.zeroes() and not quantizer.keeps_zeros:
        formats = [name for name, each in every_quantizer() if each.keeps_zeros]
        raise ConfigError(
            f"quantizer={choice_name(type(quantizer))} does not keep the weights that "
            f"pruner={choice_name(type(pruner))} sets to zero; supported: {', '.join(formats)}"
        )


def every_quantizer() -> Iterator[tuple[str, type[Quantizer]]]:
    """Every quantizer by its name on the command line."""
    return _choices(compress.quantizer, Quantizer)


def every_runtime() -> Iterator[tuple[str, type[Runtime]]]:
    """Every runtime by its file name."""
    return _choices(compress.runtime, Runtime)  # type: ignore[type-abstract]


def _choices(package: ModuleType, kind: type[Choice]) -> Iterator[tuple[str, type[Choice]]]:
    """The concrete subclasses of a base class, by the name of the defining file."""
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for found in vars(module).values():
            if (
                isinstance(found, type)
                and issubclass(found, kind)
                and not inspect.isabstract(found)
                and found.__module__ == module.__name__
            ):
                yield info.name, found
