"""Whether a model is shown to lose less than a margin, for CI: `python scripts/gate.py RUN`."""

from __future__ import annotations

import sys
from pathlib import Path

from compress.analysis.decision import Rule, rule_of_options
from compress.config.ending import Parser, one_line_ending
from compress.report.gate import read_gate, show_gate
from compress.system.terminal import open_console


@one_line_ending()
def main() -> int:
    """Prints what the rows show.

    Returns:
        0 if the loss is shown to be smaller than the margin; 1 if not, and on errors.
    """
    parser = Parser(description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run, or runs that differ in seed only"
    )
    usual = Rule()
    parser.add_argument(
        "--margin", type=float, default=usual.margin,
        help="the loss of quality that is too much: 0.01 is a point of accuracy or 1 %% of "
        "perplexity (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=usual.alpha,
        help="level of the one-sided test (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--split", choices=("validation", "test"),
        help="whose rows decide (default: validation, and test where nothing was validated)",
    )  # fmt: skip
    arguments = parser.parse_args()
    rule = rule_of_options(arguments.margin, arguments.alpha)
    gate = read_gate(arguments.runs, rule, arguments.split)
    show_gate(gate, open_console())
    return 0 if gate.passes else 1


if __name__ == "__main__":
    sys.exit(main())
