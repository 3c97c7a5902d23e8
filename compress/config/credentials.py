"""Passwords and tokens: refused in configs, and hidden in all output.

A config is recorded in metrics.json, in Hydra's own files, in the report and by trackers, so it
must not contain secrets. `${oc.env:NAME}` may refer to one, since only the name is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from compress.config.compose import texts_in
from compress.config.errors import ConfigError

HIDDEN = "***"
NAMES = "password|passwd|passphrase|pwd|token|access_token|auth_token|api_?key|access_key|secret"
# Each has the groups `kept`, before the secret, and `secret`. Repetitions are bounded, so that a
# text of megabytes does not take hours.
SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # user:password@ in a URL, up to the last @ that can end it.
        r"(?P<kept>\b(?:https?|wss?)://[^\s/@:?#]{0,200}:)(?P<secret>[^\s/]{1,2000})(?=@)",
        r"(?P<kept>\b(?!https?:|wss?:)[a-z][\w+.-]{0,40}://[^\s/@:?#]{0,200}:)(?P<secret>\S{1,2000})(?=@)",
        # A token in place of the user name.
        r"(?P<kept>\bhttps?://)(?P<secret>[\w.~-]{20,})(?=@)",
        # password=… in a query or a connection string.
        rf"(?P<kept>(?:[?&;\s]|^)\w*(?:{NAMES})\s*=\s*)(?P<secret>[^\s&;,'\"]+)",
        # Prefixes of services: Hugging Face, GitHub, GitLab, AWS, Slack, OpenAI.
        r"(?P<kept>\b)(?P<secret>hf_[a-z0-9]{30,}|gh[a-z]_[a-z0-9]{20,}|github_pat_\w{20,}"
        r"|glpat-[\w-]{16,}|AKIA[A-Z0-9]{16}|xox[a-z]-[\w-]{10,}|sk-(?:(?:proj|ant)-[\w-]{20,}|[a-z0-9]{20,}))\b",
    )
)
ENCODED = re.compile(r"[^\s%]*%\S*")
ITEM = re.compile(r"\[\d+\]")  # of a list, in a key
SECRET_KEY = re.compile(rf"(?:{NAMES})", re.IGNORECASE)
DATABASES = (
    "let the database driver read it from PGPASSFILE (~/.pgpass) or PGPASSWORD, or write the "
    "whole URL as '${oc.env:NAME}'"
)
HOWS = {
    "search.storage": DATABASES,
    "hydra.sweeper.storage": DATABASES,
    "tracker.uri": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
}
HOW = "let it be read from the environment, as HF_TOKEN is, or write '${oc.env:NAME}'"


def scrub(text: str) -> str:
    """The text with every recognizable secret hidden."""
    for pattern in SECRETS:
        text = pattern.sub(lambda found: found["kept"] + HIDDEN, text)
    # %70assword=… is read as password=…
    return ENCODED.sub(lambda word: HIDDEN if _has_secret(word[0]) else word[0], text)


def scrubbed(value: Any, key: str = "") -> Any:
    """A config value with every secret hidden, at any depth; `key` ends its name."""
    if isinstance(value, Mapping):
        return {name: scrubbed(each, str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(scrubbed(each, key) for each in value)
    if isinstance(value, str):
        return HIDDEN if _is_secret(key, value) else scrub(value)
    return value


def check_words(words: str) -> None:
    """Checks one argument of a command line.

    Raises:
        ConfigError: it contains a secret; names the setting, not the secret.
    """
    key, _, value = words.partition("=")
    key = key.lstrip("+~")
    if _is_secret(key.rpartition(".")[2], value) or _has_secret(value):
        raise _refusal(key)
    if _has_secret(words):
        raise _refusal("the command line")


def check_config(config: DictConfig) -> None:
    """Checks every text in a config.

    Raises:
        ConfigError: a value contains a secret; names the setting, not the secret.
    """
    for place, value in texts_in(OmegaConf.to_container(config, resolve=False)):
        key = ITEM.sub("", place)
        if _is_secret(key.rpartition(".")[2], value) or _has_secret(value):
            raise _refusal(key)


class RefuseCredentials(Callback):
    """Hydra callback that ends the program before Hydra writes a config with a secret."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a single run, and as `on_multirun_start` before a sweep."""
        try:
            check_config(config)
        except ConfigError as error:
            # Hydra turns an Exception into a warning and continues.
            raise SystemExit(f"error: {error}") from error

    on_multirun_start = on_run_start


def _refusal(key: str) -> ConfigError:
    how = HOWS.get(key, HOW)
    return ConfigError(
        f"{key} must not contain a password or token, because configs are recorded; {how}"
    )


def _has_secret(text: str) -> bool:
    written = (text, unquote(text)) if "%" in text else (text,)
    found = (match for each in written for pattern in SECRETS for match in pattern.finditer(each))
    return any(match["secret"] != HIDDEN for match in found)


def _is_secret(key: str, value: str) -> bool:
    """Whether a setting is secret by its name, and its value is not just a variable."""
    named = SECRET_KEY.fullmatch(key) is not None
    return named and value not in ("", "null", "???", HIDDEN) and not value.startswith("${")
