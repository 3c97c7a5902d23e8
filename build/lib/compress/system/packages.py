"""What is installed, and what an optional part of this package needs."""

from __future__ import annotations

import importlib
import importlib.util

from compress.config.errors import UserError


def require(what: str, extra: str, *packages: str) -> None:
    """Checks that what an optional part needs is installed, without importing it.

    Args:
        what: needs them, for the message.
        extra: of this package, which brings them.
        packages: by the names that they are imported by.

    Raises:
        UserError: one is not there.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{what} needs the package {package}; pip install 'compress[{extra}]'")


def choice_name(choice: type) -> str:
    """The name of its file, which is its name on the command line."""
    return choice.__module__.rpartition(".")[2]
