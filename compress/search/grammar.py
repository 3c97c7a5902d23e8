"""Parser of search spaces: the grammar of Hydra's sweeps, read into dimensions.

A dimension is `choice(wanda, heads)`, `interval(0.2, 0.7)`, `tag(log, interval(1e-5, 1e-3))` or
`range(2, 12, step=2)`, and `int(interval(2, 12))` for whole numbers. As a mapping it also takes
`when`, or names whose orders are searched: `{permutations: [lowrank, heads]}`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from compress.config.errors import ConfigError
from compress.search.space import SIGNIFICANT_DIGITS, Dimension, Space

MOST_PERMUTED = 5  # 120 orders; a search cannot cover a useful share of more


def parse_space(entries: Mapping[str, Any]) -> Space:
    """Reads the dimensions of a space.

    Args:
        entries: by key, a sweep, or a mapping of `space` or `permutations`, and `when`.

    Raises:
        ConfigError: a dimension cannot be read; names its key.
    """
    found = {str(key): _dimension(str(key), entry) for key, entry in entries.items()}
    for key, dimension in found.items():
        for other, allowed in dimension.when.items():
            if other not in found:
                raise ConfigError(
                    f"search.space.{key}: when names {other}, which is not a dimension"
                )
            for value in allowed:
                found[other].read(value)
    # A group comes before its settings, and what a condition names before what depends on it.
    before = {
        key: [*dimension.when, *({key.partition(".")[0]} & (found.keys() - {key}))]
        for key, dimension in found.items()
    }
    try:
        order = TopologicalSorter(before).static_order()
        return Space(tuple(found[key] for key in order))
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise ConfigError(f"search.space: conditions form a cycle: {circle}") from error


def _dimension(key: str, entry: Any) -> Dimension:
    mapping = dict(entry) if isinstance(entry, Mapping) else {"space": entry}
    unknown = sorted(mapping.keys() - {"space", "permutations", "when"})
    if unknown or ("space" in mapping) == ("permutations" in mapping):
        raise ConfigError(
            f"search.space.{key} must have space or permutations, and may have when; "
            f"got {', '.join(map(str, mapping)) or 'nothing'}"
        )
    if "permutations" in mapping:
        values: BaseDistribution = _permutations(key, mapping["permutations"])
    else:
        values = parse_values(key, str(mapping["space"]))
    when = mapping.get("when") or {}
    if not isinstance(when, Mapping):
        raise ConfigError(f"search.space.{key}: when must be a mapping such as {{pruner: [heads]}}")
    return Dimension(key, values, {str(k): _listed(of) for k, of in when.items()})


def parse_values(key: str, text: str) -> BaseDistribution:
    """Reads the values of a dimension.

    Raises:
        ConfigError: the text is not a sweep, or an empty one.
    """
    try:
        [override] = OverridesParser.create().parse_overrides([f"{key}={text}"])
        values = _distribution(override)
    except (HydraException, ValueError) as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"search.space.{key}: {text!r} cannot be read: {words}") from error
    if values is None:
        raise ConfigError(
            f"search.space.{key} must be choice(…), interval(…), tag(log, interval(…)) or "
            f"range(…), got {text!r}"
        )
    return values


def _distribution(override: Override) -> BaseDistribution | None:
    match override.value():
        case ChoiceSweep():
            words = (str(x) for x in override.sweep_iterator(transformer=Transformer.str))
            return CategoricalDistribution(tuple(dict.fromkeys(words)))
        case RangeSweep() as sweep:
            return _stepped(override, sweep)
        case IntervalSweep(start=int(low), end=int(high)) as sweep:
            return IntDistribution(low, high, log="log" in sweep.tags)
        case IntervalSweep(start=low, end=high) as sweep:
            assert low is not None
            assert high is not None
            return FloatDistribution(low, high, log="log" in sweep.tags)
    return None


def _stepped(override: Override, sweep: RangeSweep) -> BaseDistribution:
    """Distribution of a range, whose end is excluded as in Hydra."""
    values = [v for v in override.sweep_iterator() if isinstance(v, int | float)]
    if not values:
        raise ValueError("an empty range")
    low, high, step = min(values), max(values), abs(float(sweep.step))
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), step=int(step))
    digits = max(0, SIGNIFICANT_DIGITS - math.ceil(math.log10(max(abs(high), 1))))
    return FloatDistribution(round(low, digits), round(high, digits), step=step)


def _permutations(key: str, names: Any) -> BaseDistribution:
    """All permutations of some names, as lists in the grammar of overrides."""
    listed = _listed(names)
    if not 2 <= len(listed) <= MOST_PERMUTED or len(set(listed)) < len(listed):
        raise ConfigError(
            f"search.space.{key}: permutations must name 2 to {MOST_PERMUTED} different things, "
            f"got {', '.join(listed) or 'none'}"
        )
    orders = itertools.permutations(listed)
    return CategoricalDistribution([f"[{','.join(order)}]" for order in orders])


def _listed(value: Any) -> tuple[str, ...]:
    single = isinstance(value, str) or not isinstance(value, Sequence)
    return (str(value),) if single else tuple(str(item) for item in value)
