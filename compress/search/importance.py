"""Importance of each dimension of a search for each objective, computed by Optuna."""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from compress.config.errors import UserError
from compress.search.grammar import parse_space
from compress.search.past import PastSearch
from compress.search.space import Value

LEAST_TRIALS = 10
# Optuna's evaluator compares the best trials, by default a tenth, with all trials, and needs at
# least five best ones.
TOP_SHARE, TOP_TRIALS = 0.1, 5


def importances(search: PastSearch) -> dict[str, dict[str, float]]:
    """Importances by objective and key, those of one objective adding up to 1.

    Conditional PED-ANOVA (arXiv:2304.10255, arXiv:2601.20800): how much the distribution of a
    dimension differs between the best trials and all trials. The result is deterministic. An
    objective that is equal in all trials has no importances and is left out.

    Raises:
        UserError: the search has fewer than 10 trials, or its space cannot be read.
    """
    if len(search.trials) < LEAST_TRIALS:
        raise UserError(f"{len(search.trials)} trials are too few, {LEAST_TRIALS} are needed")
    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=max(TOP_SHARE, TOP_TRIALS / len(search.trials))
    )
    found = {}
    for name, study in _studies(search).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rare choices
            raw = get_param_importances(study, evaluator=evaluator, normalize=False)
        total = sum(raw.values())
        if total > 0:
            found[name] = {key: raw.get(key, 0.0) / total for key in search.keys}
    return found


def _studies(search: PastSearch) -> dict[str, optuna.Study]:
    """An in-memory study of the trials for each objective; the study on disk is not used."""
    dimensions = {each.key: each for each in parse_space(search.space).dimensions}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # hides the message about a new study
    studies = {
        name: optuna.create_study(direction=way) for name, way in search.goals.objectives.items()
    }
    seen: dict[str, dict[str, None]] = {key: {} for key in search.keys}
    for trial in search.trials:
        for key, value in trial.point.items():
            seen[key][value] = None
    # A dimension from the command line is not in the space: its values are those of the trials.
    distributions: dict[str, BaseDistribution] = {
        key: dimensions[key].values if key in dimensions else CategoricalDistribution(list(values))
        for key, values in seen.items()
    }
    for trial in search.trials:
        params: dict[str, Value] = {
            key: dimensions[key].read(value) if key in dimensions else value
            for key, value in trial.point.items()
        }
        own = {key: distributions[key] for key in params}
        for study, figure in zip(studies.values(), trial.values, strict=True):
            study.add_trial(create_trial(params=params, distributions=own, value=figure))
    return studies
