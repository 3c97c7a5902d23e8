"""What is installed, and what an optional part of this package needs."""

from __future__ import annotations

import importlib
import importlib.util

from compress.config.blame import blame
from compress.config.errors import UserError


def require(runtime: str, *packages: str) -> None:
    """Checks that what a runtime needs is installed, without importing it.

    Args:
        runtime: its name, which is also that of the extra that brings the packages.
        packages: that it needs.

    Raises:
        UserError: one is not there.
    """
    # Whatever the format is.
    with blame("device"):
        for package in packages:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"the {runtime} runtime needs the package {package}; "
                    f"pip install 'compress[{runtime}]'"
                )


def choice_name(choice: type) -> str:
    """The name of its file, which is its name on the command line."""
    return choice.__module__.rpartition(".")[2]
