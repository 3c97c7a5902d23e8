"""Whose fault a failure is: which config groups it would happen again with.

A search has many trials that share most of their config. What fails for that alone fails in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from compress.config.errors import UserError

# Each entry names groups whose settings, or the files that these name, are reason enough together.
Blame: TypeAlias = tuple[tuple[str, ...], ...]
ATTRIBUTE = "at_fault"
# What does not go away by itself. Memory, for one, may be short for a moment.
LASTING = (UserError, OSError, ImportError)


@contextmanager
def blame(*groups: str) -> Iterator[None]:
    """Within it, what goes wrong is the fault of these groups together.

    Where several are nested, the innermost one counts.
    """
    try:
        yield
    except LASTING as error:
        if not blamed(error):
            lay(error, [groups])
        raise


def lay(error: Exception, groups: Sequence[tuple[str, ...]]) -> None:
    """Notes in an error whose fault it is."""
    setattr(error, ATTRIBUTE, tuple(groups))


def blamed(error: BaseException) -> Blame:
    """Whose fault an error is; empty where that is not known."""
    found: Blame = getattr(error, ATTRIBUTE, ())
    return found
