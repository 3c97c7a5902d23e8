"""What would a student's shape cost here, in time and bytes? Before any is trained.

Measures shapes with untrained weights for some minutes, and predicts all others:
`python scripts/costs.py device=cpu,cpu_openvino quantizer=bf16,int8_static --faster 1x32=25`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from compress.config.ending import Parser, one_line_ending
from compress.config.errors import ConfigError
from compress.report.written import check_page
from compress.system.files import write_atomically
from compress.system.terminal import plain


@one_line_ending()
def main() -> int:
    """Prints the table's errors, and the shapes that meet the targets; 1 if there are none."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", help="of teacher, task, device, quantizer, cache, seed and costs"
    )
    parser.add_argument(
        "--faster", nargs="+", default=[], metavar="BxL=N", help="least speed-ups: 1x32=25 32x32=35"
    )
    parser.add_argument("--smaller", type=float, metavar="N", help="the teacher's bytes over these")
    parser.add_argument("--top", type=int, default=20, help="shapes to list; default: 20")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="measures the first N")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write it to FILE")
    return costs(parser.parse_intermixed_args(), Console(stderr=True))


def costs(arguments: argparse.Namespace, progress: Console) -> int:
    """Makes the table, lists shapes, and measures the first ones.

    Raises:
        UserError: something was asked for that is not possible.
    """
    # After the arguments: --help need not wait for torch.
    from compress.costs.measuring import make_table, measure_again
    from compress.costs.targets import closest, parse_targets
    from compress.replay.costs import asked_costs
    from compress.report.costs import TITLE, costs_page

    if arguments.markdown is not None:
        check_page(arguments.markdown, TITLE)
    if arguments.top < 1 or arguments.check < 0:
        raise ConfigError(
            f"--top must be >= 1 and --check >= 0, got {arguments.top} and {arguments.check}"
        )
    asked = asked_costs(arguments.overrides)
    first = next(iter(asked.runs.values()))
    targets = parse_targets(arguments.faster, arguments.smaller, first.device.benchmark.shapes)
    if arguments.check and targets is None:
        raise ConfigError("--check measures the shapes that --faster or --smaller list; set one")

    def report(line: str) -> None:
        progress.print(plain(line), soft_wrap=True)

    table = make_table(asked.runs, asked.costs, report)
    listed = [] if targets is None else closest(table, targets, arguments.top)
    checked = measure_again(first, table, listed[: arguments.check])
    refused = {**asked.refused, **table.refused}
    page = costs_page(replace(table, refused=refused), targets, listed, checked, asked.words)
    print(page, end="")  # noqa: T201
    if arguments.markdown is not None:
        write_atomically(arguments.markdown, page)
    return 0 if targets is None or (listed and listed[0].margin >= 1) else 1


if __name__ == "__main__":
    sys.exit(main())
