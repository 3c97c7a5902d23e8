"""Errors that a user can cause, each with a one-line message: what, got, allowed."""

from __future__ import annotations


class UserError(Exception):
    """An error caused by the user. Its one-line message is shown without a traceback."""


class ConfigError(UserError, ValueError):
    """A setting has an invalid value."""


class ConfigTypeError(UserError, TypeError):
    """A setting has a value of the wrong type."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Diverged(UserError):
    """A loss, weights or logits are not finite."""
