"""Which of Optuna's samplers draws the points, seeded so that restarts and drivers differ.

A seeded sampler begins with the same points in every process. Here each trial's draw starts from a
seed of its own, made of the search's seed and the trial's number: a restart goes on where the study
stands, and two drivers of one study draw different points.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.settings import Settings, check_seed
from compress.search.space import Point

GRID = "grid"
SEEDS = 2**31

# multivariate and group: settings that depend on each other are drawn together, each branch of a
# conditional space by itself. constant_liar: a point that is running counts as a bad one, so that
# workers keep apart.
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
    # The trial store hands out every point of the space in turn; there is nothing left to draw.
    GRID: optuna.samplers.RandomSampler,
}
SHARED_SEED = ("qmc",)


class PerTrialSampler(BaseSampler):
    """Another sampler, made anew for each trial with a seed of the trial's own."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, shared_seed: bool) -> None:
        """Notes how to make it.

        Args:
            make: a sampler with a seed.
            seed: of the search.
            shared_seed: whether every trial's sampler must have the search's seed.
        """
        self._make, self._seed, self._shared_seed = make, seed, shared_seed
        self._inner = make(seed)
        self._fixed: Point | None = None

    @contextmanager
    def fixed(self, point: Point | None) -> Iterator[None]:
        """Within it, trials get a given point; None to draw."""
        self._fixed = point
        try:
            yield
        finally:
            self._fixed = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Makes the trial's sampler."""
        text = f"{self._seed}/{trial.number}"
        digest = hashlib.sha256(text.encode()).digest()
        own = int.from_bytes(digest[:8], "big") % SEEDS
        self._inner = self._make(self._seed if self._shared_seed else own)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The other sampler's; nothing if the point is given."""
        if self._fixed is not None:
            return {}
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The other sampler's; nothing if the point is given."""
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
        """The other sampler's, or what is given."""
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
        """The other sampler's."""
        self._inner.after_trial(study, trial, state, values)


@dataclass(frozen=True, kw_only=True)
class SamplerSettings(Settings):
    """One of Optuna's samplers.

    Attributes:
        name: a key of `SAMPLERS`.
        seed: of the search.
        options: further arguments of Optuna's class.
    """

    name: str
    seed: int
    options: dict[str, str | int | float | bool | None]

    def make(self) -> PerTrialSampler:
        """The sampler.

        Raises:
            ConfigError: there is no such sampler or option, or an option has a wrong value.
        """
        check_seed("search.sampler.seed", self.seed)
        if self.name not in SAMPLERS:
            raise ConfigError(
                f"search.sampler.name must be one of {', '.join(SAMPLERS)}; got {self.name}"
            )
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
            return PerTrialSampler(make, self.seed, self.name in SHARED_SEED)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"search.sampler.options of {self.name}: {error}") from error
