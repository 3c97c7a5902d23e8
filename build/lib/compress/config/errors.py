"""Mistakes that a user can make, each said in one line: what, got, allowed."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's, said in one line: what, got, allowed. Shown without a traceback."""


class ConfigError(UserError, ValueError):
    """A setting has a value that it cannot have."""


class ConfigTypeError(UserError, TypeError):
    """A setting has a value of the wrong kind."""


def first_line(error: BaseException) -> str:
    """The first line of an error, or its kind where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Diverged(UserError):
    """A loss, weights or logits are not finite."""
