"""The stage cache: what it holds, whether it is whole, and making it smaller.

    python scripts/cache.py list
    python scripts/cache.py verify
    python scripts/cache.py prune --older-than 30 --larger-than 20

Deleted stages are made again when a run needs them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compress.settings import UserError
from compress.stored import Entry, damage, delete, excess, find_entries

DEFAULT = Path("outputs/cache")


def main() -> None:
    """Does what was asked; `verify` exits with 1 if an entry is damaged."""
    arguments = _arguments()
    console = Console()
    try:
        entries = find_entries(arguments.dir)
        match arguments.command:
            case "list":
                console.print(_table(entries))
            case "verify":
                sys.exit(_verify(entries, console))
            case "prune":
                old, large = arguments.older_than, arguments.larger_than
                chosen = excess(entries, days=old, gigabytes=large)
                for entry in chosen if not arguments.dry_run else ():
                    delete(entry)
                verb = "would delete" if arguments.dry_run else "deleted"
                console.print(f"{verb} {_words(chosen)}; {_words(set(entries) - set(chosen))} left")
    except UserError as error:
        sys.exit(f"error: {error}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=DEFAULT, help=f"the cache ({DEFAULT})")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what each stage takes")
    commands.add_parser("verify", help="check every checksum; damaged entries are deleted")
    prune = commands.add_parser("prune", help="delete what was not used for long, or is too much")
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="since the last use")
    prune.add_argument("--larger-than", type=float, metavar="GB", help="what may stay in all")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    found = parser.parse_args()
    if found.command == "prune" and found.older_than is None and found.larger_than is None:
        parser.error("prune needs --older-than or --larger-than")
    return found


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


def _verify(entries: list[Entry], console: Console) -> int:
    damaged = 0
    for entry in entries:
        if (reason := damage(entry)) is not None:
            damaged += 1
            console.print(f"[red]damaged[/], deleted: {escape(reason)}")
            delete(entry)
    console.print(f"{len(entries) - damaged} whole, {damaged} damaged")
    return 1 if damaged else 0


def _words(entries: set[Entry] | list[Entry]) -> str:
    return f"{len(entries)} entries of {sum(e.size_bytes for e in entries) / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
