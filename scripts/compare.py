"""Two runs, or two sweeps run by run, side by side: `python scripts/compare.py A B`."""

from __future__ import annotations

import sys
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.report.written import check_page
from compress.system.files import write_atomically
from compress.system.terminal import open_console, plain


@one_line_ending()
def main() -> int:
    """Shows what changed in settings, machine and figures, and what of that is more than noise.

    Returns:
        1 if a record could not be read.
    """
    parser = Parser(description=__doc__)
    parser.add_argument("left", type=Path, metavar="A", help="a run or a sweep")
    parser.add_argument("right", type=Path, metavar="B", help="what to compare it with")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write it to FILE")
    arguments = parser.parse_args()
    # After the arguments: --help need not wait for pandas.
    from compress.report.compare_page import (
        COMPARISON,
        compare_folders,
        comparison_markdown,
        show_comparison,
    )

    if arguments.markdown is not None:
        check_page(arguments.markdown, COMPARISON)
    console = open_console()
    compared = compare_folders(arguments.left, arguments.right)
    show_comparison(compared, console)
    if arguments.markdown is not None:
        write_atomically(arguments.markdown, comparison_markdown(compared))
        console.print(f"Written: {plain(str(arguments.markdown))}", soft_wrap=True)
    return 1 if compared.broken else 0


if __name__ == "__main__":
    sys.exit(main())
