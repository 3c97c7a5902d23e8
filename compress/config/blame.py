"""The config groups that cause a failure.

Trials of a search share most of their config. A failure caused only by shared groups would repeat
in all trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from compress.config.errors import UserError

# Each entry names groups whose settings, or files named by them, together cause the failure.
Blame: TypeAlias = tuple[tuple[str, ...], ...]
ATTRIBUTE = "at_fault"
# Errors that repeat. Others, such as a lack of memory, may be temporary.
LASTING = (UserError, OSError, ImportError)


@contextmanager
def blame(*groups: str) -> Iterator[None]:
    """Attributes errors inside the block to these groups together; the innermost block wins."""
    try:
        yield
    except LASTING as error:
        if not blamed(error):
            lay(error, [groups])
        raise


def lay(error: Exception, groups: Sequence[tuple[str, ...]]) -> None:
    """Stores in an error the groups that cause it."""
    setattr(error, ATTRIBUTE, tuple(groups))


def blamed(error: BaseException) -> Blame:
    """The groups that cause an error; empty if unknown."""
    found: Blame = getattr(error, ATTRIBUTE, ())
    return found
