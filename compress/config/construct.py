"""Construction of settings objects from one group of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.config.errors import ConfigError, ConfigTypeError, first_line
from compress.config.explain import shown
from compress.config.settings import S, Settings

TARGET = "_target_"
ROOT = Path(__file__).parents[2]
PACKAGE = "compress"
# The only classes that a config may name; Hydra refuses any other `_target_`.
TRUSTED_TARGETS = ("compress.*", "hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")


def construct(cfg: DictConfig, group: str, expected: type) -> Any:
    """Constructs the object of one group.

    Raises:
        UserError: the group is missing, a setting is wrong, or a choice cannot be imported.
    """
    part = cfg.get(group)
    if not isinstance(part, DictConfig):
        raise ConfigError(
            f"{group} must be a choice, got {part}; `python run.py --help` lists them"
        )
    if missing := sorted(OmegaConf.missing_keys(part)):
        raise ConfigError(f"{group}: Missing mandatory value: {missing[0]}")
    try:
        plain = OmegaConf.to_container(part, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{group}: {first_line(error)}") from error
    made = _built(group, plain)
    if not isinstance(made, expected):
        raise ConfigError(f"{group} must be a {expected.__name__}, got {_kind(made)}")
    return made


def _built(key: str, value: Any) -> Any:
    """Constructs an object of each mapping that has a `_target_`.

    Hydra's `instantiate` would call any trusted function too, and wrap the exceptions.
    """
    if isinstance(value, list):
        return [_built(f"{key}[{number}]", item) for number, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    made = {name: _built(f"{key}.{name}", item) for name, item in value.items() if name != TARGET}
    if TARGET not in value:
        return made
    if odd := [name for name in made if not isinstance(name, str)]:
        raise ConfigError(f"the names in {key} must be text, got {shown(odd[0])}")
    return build(key, settings_class(f"{key}.{TARGET}", value[TARGET]), made)


def build(key: str, cls: type[S], values: Mapping[str, Any]) -> S:
    """Constructs settings from their part of the config.

    Raises:
        ConfigError: a value is wrong.
        ConfigTypeError: a value is missing, unknown or of another type.
    """
    try:
        with keyed(key, cls):
            return cls(**values)
    except (ConfigError, ConfigTypeError) as error:
        name, words = cls.__name__, str(error)
        if words.startswith(f"{name} "):
            raise type(error)(f"{key} ({name}){words.removeprefix(name)}") from error
        raise


@contextmanager
def keyed(key: str, cls: type[Settings]) -> Iterator[None]:
    """Makes errors of settings, which know their class alone, name their key in the config."""
    try:
        yield
    except (ConfigError, ConfigTypeError) as error:
        name, words = f"{cls.__name__}.", str(error)
        if words.startswith(name):
            raise type(error)(f"{key}.{words.removeprefix(name)}") from error
        raise


def settings_class(key: str, target: Any) -> type[Settings]:
    """The settings class that a `_target_` names."""
    module, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if not module.startswith(f"{PACKAGE}."):
        raise ConfigError(
            f"{key} must be a class of settings in {PACKAGE}, such as {PACKAGE}.pruner.wanda.Wanda;"
            f" got {shown(target)}"
        )
    found = getattr(_imported(key, module), name, None)
    if not (isinstance(found, type) and issubclass(found, Settings)):
        what = "has no" if found is None else "has no class of settings"
        raise ConfigError(f"{key}={target}: {module} {what} {name}")
    return found


def _imported(key: str, module: str) -> Any:
    """Imports a module; an error in a user's module becomes one line."""
    try:
        return import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"{key} names {module}, which does not exist") from error
        raise ConfigError(
            f"{key}: {_file(module)} cannot be imported: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


def _file(module: str) -> str:
    """File of a module that cannot be imported, or its name where the file is unknown."""
    try:
        spec = find_spec(module)
    except Exception:
        return module
    if spec is None or spec.origin is None:
        return module
    path = Path(spec.origin)
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _kind(made: Any) -> str:
    return f"settings without {TARGET}" if isinstance(made, dict) else type(made).__name__
