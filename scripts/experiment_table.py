"""An experiment beside what was published: `python scripts/experiment_table.py outputs/…`."""

from __future__ import annotations

import sys
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.records.collect import collect
from compress.report.written import check_page
from compress.system.files import write_atomically
from compress.system.terminal import open_console, plain


@one_line_ending()
def main() -> int:
    """Shows a table for each experiment; 1 if a row is missing, failed or cannot be read."""
    parser = Parser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="sweeps of experiments, at any depth")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write it to FILE")
    arguments = parser.parse_args()
    if arguments.markdown is not None:
        check_page(arguments.markdown, "# ")
    # After the arguments: --help need not wait for pandas.
    from compress.report.experiment import experiment_tables, without_unreadable
    from compress.report.experiment_page import show_tables, tables_markdown

    console = open_console()
    found = without_unreadable(collect(arguments.folders))
    for reason in found.broken:
        console.print(f"[red]unreadable[/] {plain(reason)}", soft_wrap=True)
    tables = experiment_tables(found)
    show_tables(tables, console)
    if arguments.markdown is not None:
        write_atomically(arguments.markdown, tables_markdown(tables))
        console.print(f"Written: {plain(str(arguments.markdown))}", soft_wrap=True)
    return 0 if all(table.whole for table in tables) and not found.broken else 1


if __name__ == "__main__":
    sys.exit(main())
