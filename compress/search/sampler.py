"""Optuna's samplers, seeded per trial so that restarts and drivers differ.

A seeded sampler starts with the same points in every process. Here each trial has its own seed,
derived from the search's seed and the trial's number: a restart continues where the study stands,
and two drivers of one study draw different points.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import OneOf, Seed
from compress.config.settings import Settings
from compress.search.space import Point

GRID = "grid"
SEEDS = 2**31

# multivariate and group: dependent settings are drawn together, separately for each branch of a
# conditional space. constant_liar: a running point counts as a bad one, so that workers draw
# different points.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "tpe": {"multivariate": True, "group": True, "constant_liar": True},
    # QMC's points follow from one sequence that all trials share, whoever draws them.
    "qmc": {"scramble": True},
}
SAMPLERS: Mapping[str, Callable[..., BaseSampler]] = {
    "tpe": optuna.samplers.TPESampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
    "nsgaiii": optuna.samplers.NSGAIIISampler,
    "gp": optuna.samplers.GPSampler,
    "random": optuna.samplers.RandomSampler,
    "qmc": optuna.samplers.QMCSampler,
    # The trial store enumerates the points of the space; the sampler is not asked for any.
    GRID: optuna.samplers.RandomSampler,
}


class PerTrialSampler(BaseSampler):
    """Wraps a sampler that is created for each trial with the trial's own seed."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, shared_seed: bool) -> None:
        """Wraps what `make` creates of a seed: the trial's own or, if shared, the search's."""
        self._make, self._seed, self._shared_seed = make, seed, shared_seed
        self._inner = make(seed)
        self._fixed: Point | None = None

    @contextmanager
    def fixed(self, point: Point | None) -> Iterator[None]:
        """Fixes the point of trials created inside the block; None to draw it."""
        self._fixed = point
        try:
            yield
        finally:
            self._fixed = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Creates the trial's sampler."""
        seed = self._seed
        if not self._shared_seed:
            digest = hashlib.sha256(f"{seed}/{trial.number}".encode()).digest()
            seed = int.from_bytes(digest[:8], "big") % SEEDS
        self._inner = self._make(seed)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """That of the wrapped sampler; empty if the point is fixed."""
        if self._fixed is not None:
            return {}
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """That of the wrapped sampler; empty if the point is fixed."""
        if self._fixed is not None:
            return {}
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Value of the wrapped sampler, or of the fixed point."""
        if self._fixed is not None:
            return self._fixed[param_name]
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Delegates to the wrapped sampler."""
        self._inner.after_trial(study, trial, state, values)


@dataclass(frozen=True, kw_only=True)
class SamplerSettings(Settings):
    """An Optuna sampler.

    Attributes:
        name: the sampler.
        seed: seed of the search.
        options: further arguments of Optuna's class.
    """

    name: Annotated[str, OneOf(SAMPLERS)]
    seed: Seed
    options: dict[str, str | int | float | bool | None]

    def make(self) -> PerTrialSampler:
        """Creates the sampler.

        Raises:
            ConfigError: an option does not exist or is invalid.
        """
        kind = SAMPLERS[self.name]
        allowed = inspect.signature(kind).parameters.keys() - {"seed"}
        if unknown := sorted(self.options.keys() - allowed):
            raise ConfigError(
                f"search.sampler.options of {self.name} are {', '.join(sorted(allowed))}; "
                f"got {', '.join(unknown)}"
            )
        settings = {**DEFAULTS.get(self.name, {}), **self.options}

        def make(own_seed: int) -> BaseSampler:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return kind(seed=own_seed, **settings)

        try:
            return PerTrialSampler(make, self.seed, shared_seed=self.name == "qmc")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"search.sampler.options of {self.name}: {error}") from error
