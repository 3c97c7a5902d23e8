"""The Hydra sweeper `hydra/sweeper=frontier`: finds finalists, then runs them as a search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from compress.config.errors import ConfigError
from compress.search.sweeper import ParetoSweeper, make_search

if TYPE_CHECKING:
    from compress.frontier.settings import Frontier


class FrontierSweeper(ParetoSweeper):
    """Trains and measures only what costs and a super-net promise; see docs/frontier.md."""

    def __init__(self, max_hours: float | None, max_failures: int | None) -> None:
        """Stores the budget.

        Args:
            max_hours: total time of all drivers, from the table of costs to the last finalist; null
                for no limit.
            max_failures: number of finalists that may fail; null for no limit.

        Raises:
            ConfigError: a value is not a number or out of range.
        """
        super().__init__(1, max_hours, max_failures)  # of trials as many as there are finalists

    def sweep(self, arguments: list[str]) -> None:
        """Runs or resumes the search.

        Args:
            arguments: overrides of the command line. Sweeps become dimensions.

        Raises:
            UserError: a setting is wrong, or differs from the study's.
            SystemExit: the search ended before all finalists were run.
        """
        config, context = self.config, self.hydra_context
        assert config is not None
        assert context is not None
        # Imported here: Hydra loads its plugins in every command, and most are not a search.
        frontier, began = _asked(config, self._hours), time.perf_counter()
        from rich.console import Console

        from compress.frontier.found import alone
        from compress.frontier.pace import Pace
        from compress.frontier.propose import find_finalists
        from compress.frontier.sizes import proposed_sizes
        from compress.search.run import check_resumable, run_search
        from compress.system.terminal import plain

        console = Console()

        def compose(words: Sequence[str]) -> DictConfig:
            return context.config_loader.load_sweep_config(config, list(words))

        def report(line: str) -> None:
            console.print(plain(line), soft_wrap=True)

        if sizes := proposed_sizes(arguments, compose):
            report(f"sizes for this teacher: {' '.join(sizes)}")
        budget = self._budget, self._hours, self._failures
        search = make_search(config, context, [*sizes, *arguments], self._task, budget)
        check_resumable(search)
        for line in search.plan.left_out:
            report(line)
        parsed = OverridesParser.create().parse_overrides(arguments)
        named = frozenset(str(each.key_or_group) for each in parsed)
        folder = Path(config.hydra.sweep.dir)
        pace = Pace(began, self._hours, named, search.settings.workers)
        with _resumable(folder), alone(folder, report):
            found = find_finalists(search.plan, frontier, compose, folder, report, pace)
        fixed = (*search.plan.fixed, *found.overrides())
        points = tuple(dict(each.point) for each in found.finalists)
        run_search(
            replace(
                search,
                plan=replace(search.plan, fixed=fixed, left_out=()),
                budget=len(points),
                settings=replace(search.settings, seed_points=points),
                # What a finalist needs was paid for.
                limits=replace(search.limits, spent=found.spent, least=1),
            )
        )


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Adds to an interrupt in the block how to go on."""
    from compress.system.logs import shown_path

    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(
            f"the same command resumes {shown_path(folder)} after the stages that have ended"
        ) from interrupt


def _asked(config: DictConfig, hours: float | None) -> Frontier:
    """The settings of the search.

    Raises:
        ConfigError: there are none, one is wrong, or the hours are too short for the table.
    """
    from compress.config.construct import build, construct
    from compress.config.explain import shown
    from compress.frontier.settings import Frontier
    from compress.interfaces import Device

    search: Any = OmegaConf.to_container(config.get("search") or DictConfig({}), resolve=True)
    if "frontier" not in search:
        raise ConfigError("hydra/sweeper=frontier needs a search: +search=frontier")
    frontier = build("search.frontier", Frontier, search["frontier"])
    frontier.speedups(construct(config, "device", Device).benchmark.shapes)
    if search.get("seed_points"):
        raise ConfigError(
            "search.seed_points must be empty in a search for the frontier, whose finalists are "
            f"its points; got {shown(search['seed_points'])}"
        )
    if hours is not None and frontier.minutes is not None and hours * 60 <= frontier.minutes:
        raise ConfigError(
            "hydra.sweeper.max_hours must be longer than "
            f"search.frontier.minutes={frontier.minutes:g}, got {hours:g}"
        )
    return frontier
