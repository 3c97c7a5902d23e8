"""List, verify and prune the stage cache.

    python scripts/cache.py list
    python scripts/cache.py verify --delete
    python scripts/cache.py prune --older-than 30 --larger-than 20

Deleted stages are recomputed when a run needs them. `prune` also deletes leftovers of killed runs:
in the cache, in the folders of runs below --runs, and in the system's temporary folder.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compress.config.ending import Parser, one_line_ending
from compress.config.errors import UserError
from compress.store.cache_entries import Entry, delete, excess, find_entries
from compress.store.cache_root import entry_damage
from compress.store.leftovers import LOCK_FILE, Leftover, delete_leftover, find_leftovers

DEFAULT = Path("outputs/cache")
RUNS = Path("outputs")


@one_line_ending()
def main() -> None:
    """Runs the command; `verify` exits with 1 if an entry is damaged."""
    arguments = _arguments()
    console = Console()
    entries = find_entries(arguments.dir)
    match arguments.command:
        case "list":
            console.print(_table(entries))
            _list_leftovers(_leftovers(arguments), console)
        case "verify":
            sys.exit(_verify(entries, console, delete_damaged=arguments.delete))
        case "prune":
            _prune(entries, arguments, console)


def _arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=DEFAULT, help=f"the cache ({DEFAULT})")
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="list stages, and leftovers of killed runs")
    verify = commands.add_parser("verify", help="check every checksum; 1 if an entry is damaged")
    verify.add_argument("--delete", action="store_true", help="delete damaged entries")
    prune = commands.add_parser("prune", help="delete entries by age or total size")
    prune.add_argument("--older-than", type=_limit, metavar="DAYS", help="since the last use")
    prune.add_argument("--larger-than", type=_limit, metavar="GB", help="total size to keep")
    prune.add_argument("--dry-run", action="store_true", help="only report what would be deleted")
    for command in (listed, prune):
        words = f"folder that contains runs, at any depth ({RUNS})"
        command.add_argument("--runs", type=Path, default=RUNS, help=words)
    return parser.parse_args()


def _limit(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be >= 0, got {text}")
    return value


def _leftovers(arguments: argparse.Namespace) -> list[Leftover]:
    runs: Path = arguments.runs
    if runs != RUNS and not runs.is_dir():
        raise UserError(f"{runs} is not a directory")
    return find_leftovers(arguments.dir, runs if runs.is_dir() else None)


def _list_leftovers(leftovers: list[Leftover], console: Console) -> None:
    locks = [each for each in leftovers if each.kind == LOCK_FILE]
    for each in leftovers:
        if each not in locks:
            size = f"{each.size_bytes / 1e6:.1f} MB"
            where = escape(str(each.path))
            console.print(f"left by a killed run: {each.kind}, {size}, {where}", soft_wrap=True)
    if locks:
        console.print(f"unused lock files: {len(locks)}")


def _prune(entries: list[Entry], arguments: argparse.Namespace, console: Console) -> None:
    chosen = excess(entries, days=arguments.older_than, gigabytes=arguments.larger_than)
    leftovers = _leftovers(arguments)
    if not arguments.dry_run:
        chosen = [entry for entry in chosen if delete(entry)]
        for each in leftovers:
            delete_leftover(each)
    _list_leftovers(leftovers, console)
    verb = "would delete" if arguments.dry_run else "deleted"
    console.print(f"{verb} {_summary(chosen)} and {len(leftovers)} leftovers of killed runs")
    console.print(f"{_summary(set(entries) - set(chosen))} left")


def _table(entries: list[Entry]) -> Table:
    table = Table("stage", "entries", "MB", "last used", header_style="bold")
    for stage in sorted({entry.stage for entry in entries}):
        of_stage = [entry for entry in entries if entry.stage == stage]
        megabytes = sum(entry.size_bytes for entry in of_stage) / 1e6
        last = max(entry.used for entry in of_stage).strftime("%Y-%m-%d %H:%M")
        table.add_row(escape(stage), str(len(of_stage)), f"{megabytes:.1f}", last)
    table.add_section()
    total = sum(entry.size_bytes for entry in entries) / 1e6
    table.add_row("all", str(len(entries)), f"{total:.1f}", "")
    return table


def _verify(entries: list[Entry], console: Console, *, delete_damaged: bool) -> int:
    damaged = 0
    for entry in entries:
        if (reason := entry_damage(entry.folder)) is not None:
            damaged += 1
            gone = delete_damaged and delete(entry)
            console.print(f"[red]damaged[/]{', deleted' if gone else ''}: {escape(reason)}")
    console.print(f"{len(entries) - damaged} whole, {damaged} damaged")
    return 1 if damaged else 0


def _summary(entries: set[Entry] | list[Entry]) -> str:
    return f"{len(entries)} entries of {sum(e.size_bytes for e in entries) / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
