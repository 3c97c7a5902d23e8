"""Tries every architecture with every stage: `python -m benchmarks.architectures PAGE`.

Run from the repository's root: the models and the judgement are those of `tests/matrix`. Without a
page it prints what is not right and writes nothing; with only some architectures or stages, a
page's other cells stay as they are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.measure.environment import machine
from compress.system.files import write_atomically
from tests.matrix.cells import RIGHT, Cell, find_cell
from tests.matrix.models import Model
from tests.matrix.page import COMMAND, in_order, page, read_page
from tests.matrix.stages import every_stage
from tests.sizes import ARCHITECTURES


def main() -> None:
    """Finds the cells and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", help="the Markdown file to write")
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--stages", nargs="*", default=[""], help="parts of their names")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--missing", action="store_true", help="only cells that the page lacks")
    arguments = parser.parse_args()
    known = []
    if arguments.missing:
        known = read_page(arguments.page.read_text(encoding="utf-8"))
    started = time.perf_counter()
    cells = find_all(arguments.architectures, arguments.stages, arguments.processes, known)
    minutes = (time.perf_counter() - started) / 60
    for cell in cells:
        if cell.outcome != RIGHT:
            print(cell.outcome, cell.architecture, cell.stage, cell.words)  # noqa: T201
    print(f"{len(cells)} cells in {minutes:.0f} minutes")  # noqa: T201
    if arguments.page is not None:
        told = f"in {minutes:.0f} minutes with {arguments.processes} processes on {machine()}."
        write_atomically(arguments.page, _written(cells, arguments, told))


def _written(cells: list[Cell], arguments: argparse.Namespace, told: str) -> str:
    """The page with the cells; where they are some, in the place of those that it has."""
    every = arguments.architectures == list(ARCHITECTURES) and arguments.stages == [""]
    if every and not arguments.missing:
        return page(cells, every_stage(), f"Made by `{COMMAND}` {told}")
    text = arguments.page.read_text(encoding="utf-8")
    before = "\n".join(
        line for line in text.splitlines() if line.startswith(("Made by", "Again with"))
    )
    parts = " ".join(sys.argv[2:])
    by_place = {(each.architecture, each.stage): each for each in (*read_page(text), *cells)}
    stages = {stage.name for stage in every_stage()}  # a page may have some that are gone
    ordered = in_order([cell for (_, stage), cell in by_place.items() if stage in stages])
    return page(ordered, every_stage(), f"{before}\nAgain with `{parts}` {told}")


def find_all(
    names: Sequence[str], parts: Sequence[str], processes: int, known: Sequence[Cell] = ()
) -> list[Cell]:
    """The cells of some architectures.

    Args:
        names: of the architectures.
        parts: a stage is tried if its name has one of these in it.
        processes: that share the work.
        known: cells that are not tried again.
    """
    skipped = frozenset((cell.architecture, cell.stage) for cell in known)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_ready) as pool:
        found = [pool.submit(find_some, name, tuple(parts), skipped) for name in names]
        return in_order([cell for each in found for cell in each.result()])


def find_some(name: str, parts: Sequence[str], skipped: Set[tuple[str, str]]) -> list[Cell]:
    """The cells of one architecture that are not skipped."""
    with TemporaryDirectory() as home:
        model = Model(name, Path(home) / "model")
        return [
            find_cell(model, stage, Path(home) / "run")
            for stage in every_stage()
            if any(part in stage.name for part in parts) and (name, stage.name) not in skipped
        ]


def _ready() -> None:
    """One thread for each process, and no bars."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


if __name__ == "__main__":
    main()
