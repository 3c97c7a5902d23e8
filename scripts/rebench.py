"""Measures a sweep's saved models again, here: `python scripts/rebench.py outputs/sweeps/…`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from compress.config.ending import Parser, one_line_ending
from compress.records.collect import REBENCH, collect
from compress.store.run_folder import empty_folder
from compress.system.terminal import open_console, plain


@one_line_ending()
def main() -> int:
    """Writes new records, tables and plots; 1 if a model or a record was left out."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a sweep or a run")
    parser.add_argument("overrides", nargs="*", help="such as device.threads=1")
    parser.add_argument("--out", type=Path, help=f"default: a new folder in the sweep's {REBENCH}")
    arguments = parser.parse_intermixed_args()
    return rebench(arguments.folder, arguments.overrides, arguments.out, open_console())


def rebench(folder: Path, overrides: list[str], out: Path | None, console: Console) -> int:
    """Measures what can be measured, each model on its own, and reports.

    Raises:
        UserError: nothing can be measured as asked.
    """
    # After the arguments: --help need not wait for torch.
    from compress.replay.rebench import Bench, find_saved
    from compress.report.screen import show
    from compress.report.write import write_report

    collection = collect([folder])
    runs, broken = find_saved(collection, overrides)
    out = empty_folder(out, folder / REBENCH)
    for left_out, record in collection.failed:
        name, reason = plain(str(left_out)), plain(record.error or "")
        console.print(f"[yellow]left out[/] {name}, which failed: {reason}", soft_wrap=True)
    for reason in broken:
        console.print(f"[red]left out[/] {plain(reason)}", soft_wrap=True)
    bench = Bench(out)
    for run in runs:
        relative = run.folder.relative_to(folder)
        console.print(f"measuring {plain(str(run.folder))}", soft_wrap=True)
        bench.measure_again(run, out / (relative if relative.name else folder.name))
    report = write_report([out], out)
    show(report, console)
    return 1 if report.collection.failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
