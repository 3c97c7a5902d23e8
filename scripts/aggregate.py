"""Turns folders of runs into tables and Pareto plots: `python scripts/aggregate.py outputs/…`."""

from __future__ import annotations

import sys
from pathlib import Path

from compress.analysis.decision import Rule, rule_of_options
from compress.config.ending import Parser, one_line_ending
from compress.system.terminal import open_console


@one_line_ending()
def main() -> int:
    """Writes the report; 1 if a record could not be read or there is none."""
    parser = Parser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="runs and sweeps, at any depth")
    parser.add_argument("--out", type=Path, help="default: the folder, if only one is given")
    parser.add_argument(
        "--margin", type=float,
        help="recommend by this loss of quality, see docs/decision.md (default: that of the runs)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float,
        help=f"with --margin: the level of the test (default: {Rule().alpha})",
    )  # fmt: skip
    arguments = parser.parse_args()
    rule = None
    if arguments.margin is not None:
        alpha = Rule().alpha if arguments.alpha is None else arguments.alpha
        rule = rule_of_options(arguments.margin, alpha)
    elif arguments.alpha is not None:
        parser.error("--alpha needs --margin")
    folders: list[Path] = arguments.folders
    if arguments.out is None and len(folders) > 1:
        parser.error("--out is needed for more than one folder")
    # After the arguments: --help need not wait for pandas and plots.
    from compress.report.screen import show
    from compress.report.write import write_report

    report = write_report(folders, arguments.out or folders[0], rule)
    show(report, open_console())
    return 1 if report.collection.broken or not report.collection.runs else 0


if __name__ == "__main__":
    sys.exit(main())
