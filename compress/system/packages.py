"""Checks of optional packages."""

from __future__ import annotations

import importlib
import importlib.util

from compress.config.errors import UserError

# What a sweep needs, and a model that is served does not.
SWEEP = ("hydra", "optuna", "torch", "transformers", "datasets", "pandas", "matplotlib")


def require(what: str, extra: str, *packages: str) -> None:
    """Checks that optional packages are installed, without importing them.

    Args:
        what: the feature that needs them, for the message.
        extra: extra of this package that installs them.
        packages: import names.

    Raises:
        UserError: a package is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{what} needs the package {package}; pip install 'compress[{extra}]'")


def choice_name(choice: type) -> str:
    """Name of a choice on the command line, which is that of its module."""
    return choice.__module__.rpartition(".")[2]
