"""Which format and runtime is fastest on this machine and still accurate?

Tries every supported combination on a saved model: `python scripts/probe.py outputs/runs/…/model`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from compress.config.ending import Parser, one_line_ending
from compress.config.errors import UserError
from compress.store.run_folder import empty_folder
from compress.system.terminal import open_console, plain

OUT = Path("outputs/probe")


@one_line_ending()
def main() -> int:
    """Measures every pair and names the winners; 1 if one of them broke or none is supported."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a model folder of a run: float torch weights")
    parser.add_argument("overrides", nargs="*", help="of task, device, cache and seed")
    parser.add_argument("--only", nargs="+", default=[], help="device/quantizer, such as 'cpu/*'")
    parser.add_argument("--shape", help="BATCHxLENGTH to rank by; default: the first one")
    parser.add_argument("--out", type=Path, help=f"default: a new folder in {OUT}")
    arguments = parser.parse_intermixed_args()
    return probe(arguments, open_console())


def probe(arguments: argparse.Namespace, console: Console) -> int:
    """Tries each pair on its own, and reports.

    Raises:
        UserError: the model cannot be probed as asked.
    """
    # After the arguments: --help need not wait for torch.
    from compress.replay.probe import find_pairs, make_attempts, run_attempts
    from compress.report.probe import Probe, choose_shape, show_probe, write_probe

    pairs = find_pairs(arguments.only)
    attempts, refused = make_attempts(arguments.folder, pairs, arguments.overrides)
    if not attempts:
        show_probe(Probe({}, refused, (0, 0)), console)
        raise UserError("no pair of device and quantizer can be tried")
    shape = choose_shape(arguments.shape, attempts[0].run.device.benchmark.shapes)
    out = empty_folder(arguments.out, OUT)
    results = {}
    for attempt, record in run_attempts(attempts, out):
        results[attempt.pair] = record
        outcome = record.error or f"{record.seconds:.0f} s"
        count = f"{len(results)}/{len(attempts)}"
        console.print(f"{count} {plain(attempt.pair)}: {plain(outcome)}", soft_wrap=True)
    found = Probe(results, refused, shape)
    table, page = write_probe(found, out)
    show_probe(found, console)
    console.print(f"Every shape: {plain(str(page))}, {plain(str(table))}", soft_wrap=True)
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
