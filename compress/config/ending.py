"""How a command ends: a user error prints one line, a bug a traceback."""

from __future__ import annotations

import argparse
import difflib
import errno
import itertools
import os
import re
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from compress.config.credentials import scrub
from compress.config.errors import UserError
from compress.config.legible import LONGEST_ERROR, shortened, visible

SCRUBBED = 20_000  # characters of an error that are searched for secrets; the rest is cut off
# Exit codes as in shells: 128 plus the number of the signal, SIGINT or SIGPIPE.
INTERRUPTED, UNREAD = 130, 141
# Exhausted resources. Such an error may lack a file name, for example that of a write.
EXHAUSTED = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ENOMEM,
}  # fmt: skip
# Libraries written in Rust raise their own errors, with the system's error number in the text.
NUMBER = re.compile(r"\(os error (\d+)\)")
# What Hydra says of a choice and of a key that there is not.
NO_CHOICE = re.compile(r"Could not find '([^']*/[^']*)'")
NO_KEY = re.compile(r"Could not override '([^']+)'")
# Message of torch on a CPU, which raises a RuntimeError for it.
NO_MEMORY = "can't allocate memory"


class Parser(argparse.ArgumentParser):
    """Argument parser of a script that raises a UserError."""

    def error(self, message: str) -> NoReturn:
        """Raises the message.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; see --help")


@contextmanager
def one_line_ending() -> Iterator[None]:
    """Ends the program with one line and status 1 on a user error; also a decorator.

    An interrupt has status 130. If standard output is closed, as by `| head`, the program ends
    silently.
    """
    try:
        try:
            yield
        finally:
            # Write errors surface here instead of at interpreter exit.
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        print(f"error: {one_line(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    except Exception as error:
        unread = isinstance(error, BrokenPipeError) and _is_output_closed()
        if isinstance(error, OSError):
            _drop_output()
        if unread:
            sys.exit(UNREAD)
        if (words := mistake(error)) is None:
            raise
        sys.exit(f"error: {words}")


def one_line(error: BaseException) -> str:
    """The message of an error in one line, with its type if it is a bug."""
    if isinstance(error, KeyboardInterrupt):
        return ": ".join(filter(None, ("interrupted", _flat(str(error)))))
    words = mistake(error)
    if words is not None:
        return words
    text = _flat(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def mistake(error: BaseException) -> str | None:
    """One-line message of a user or system error; None if the error is a bug."""
    if isinstance(error, UserError | YAMLError):
        return _flat(str(error))
    if isinstance(error, HydraException) and (inner := _user_error(error)) is not None:
        return _flat(str(inner))
    if isinstance(error, HydraException):
        return _flat(_hydra_words(error))
    if isinstance(error, OmegaConfBaseException):
        return _flat(_omegaconf_words(error))
    words = _system_words(error)
    if words is None and _is_of_composing(error):
        words = f"Hydra rejects this command line: {type(error).__name__} {error}"
    return None if words is None else _flat(words)


def _user_error(error: BaseException | None) -> UserError | None:
    """The UserError that Hydra wraps where it constructs an object itself, such as a sweeper."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _hydra_words(error: HydraException) -> str:
    """Hydra's message without search path and internal keys."""
    words = str(error).partition("Config search path:")[0]
    if choice := NO_CHOICE.search(words):
        return _choice_words(choice[1], words[choice.end() :].partition(":")[2].split())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        words += " " + str(cause).partition("full_key:")[0]
    if (key := NO_KEY.search(words)) and "is not in struct" in words:
        parent, dot, last = key[1].rpartition(".")
        # What Hydra suggests is for the first name in the key that there is not.
        meant = re.search(rf"Key '{last}' is .*Did you mean: '(\w+)'", words, re.DOTALL)
        hint = f" did you mean {parent}{dot}{meant[1]}?" if meant else ""
        return (
            f"{key[1]} is not a setting of the selected choices;{hint} `python run.py --cfg job` "
            "prints all settings"
        )
    return words


def _choice_words(path: str, available: list[str]) -> str:
    """What to say of a choice, such as "pruner/wnda", that there is not."""
    group, name = path.rpartition("/")[::2]
    longer = [each for each in available if name and each.startswith(name)]
    meant = longer or difflib.get_close_matches(name, available, n=1)
    hint = f"did you mean {group}={meant[0]}? Choices" if meant else "choices"
    return f"{group}={name} is not available; {hint}: {', '.join(available)}"


def _omegaconf_words(error: OmegaConfBaseException) -> str:
    """The message after its key, without OmegaConf's internal types."""
    words = str(error).partition("full_key:")[0].strip()
    key = error.full_key
    return f"{key}: {words}" if key and key not in words else words


def _system_words(error: BaseException | None) -> str | None:
    """Message of the operating system, if it caused the error; None otherwise."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            if error.filename is not None:
                return f"{os.fsdecode(error.filename)}: {error.strerror}"
            if error.errno in EXHAUSTED:
                return f"{error.strerror}"
        text = str(error)
        if (number := NUMBER.search(text)) and int(number[1]) in EXHAUSTED:
            return os.strerror(int(number[1]))
        if isinstance(error, MemoryError) or NO_MEMORY in text:
            return f"out of memory: {text}" if text else "out of memory"
        error = error.__cause__
    return None


def _is_of_composing(error: BaseException) -> bool:
    """Whether Hydra failed while composing, before any code of this package ran."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in frames]
    inside = itertools.dropwhile(lambda name: not name.startswith("hydra._internal"), modules)
    packages = {name.partition(".")[0] for name in inside}
    return bool(packages) and "compress" not in packages


def _flat(text: str) -> str:
    """One line that is safe for a terminal: no secrets, no control characters, limited length."""
    words = " ".join(text.split())
    shown = scrub(visible(words[:SCRUBBED]))
    return shortened(shown, LONGEST_ERROR, max(len(shown), len(words)))


def _is_output_closed() -> bool:
    """Whether the broken pipe is standard output, not one to a child process."""
    events = select.poll()
    events.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in events.poll(0))


def _drop_output() -> None:
    """Discards buffered output, which would fail again at interpreter exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
