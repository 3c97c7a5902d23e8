"""One group of a config → the object that its yaml constructs; loads nothing else."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.cli import TRUSTED_TARGETS
from compress.settings import ConfigError, UserError
from compress.sources import first_line


def construct(cfg: DictConfig, group: str, expected: type) -> Any:
    """One group's object.

    Raises:
        UserError: a setting is wrong; Hydra's wrapping is taken off the error.
    """
    if missing := sorted(OmegaConf.missing_keys(cfg[group])):
        raise ConfigError(f"{group}: Missing mandatory value: {missing[0]}")
    try:
        # As plain values Hydra has it in half the time: it copies nodes again and again.
        settings = OmegaConf.to_container(cfg[group], resolve=True)
        made = instantiate(settings, _convert_="all", _execution_whitelist_=TRUSTED_TARGETS)
    except InstantiationException as error:
        raise ConfigError(_reason(error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{group}: {first_line(error)}") from error
    if not isinstance(made, expected):
        raise ConfigError(f"{group} must be a {expected.__name__}, got {type(made).__name__}")
    return made


def _reason(error: InstantiationException) -> str:
    """The user's mistake inside Hydra's exception, or Hydra's own words where it is not ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)
