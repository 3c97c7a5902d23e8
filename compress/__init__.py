"""Transformer compression: stages that compress, one place that measures, a sweep over both.

record = compress.run(["pruner=wanda", "pruner.sparsity=0.5"])
folder = compress.sweep(["pruner=wanda", "pruner.sparsity=0.3,0.5"])
compress.results(folder).plot.scatter("size_bytes", "accuracy")
compress.load("outputs/runs/…/model").classify(["a text"])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from compress.records.schema import FinishedRun
    from compress.serve.model import ServedModel

__all__ = ["load", "results", "run", "sweep"]

# Imported in the functions, so that `import compress` does not cost a torch import.


def run(overrides: Sequence[str] = ()) -> FinishedRun:
    """Runs the pipeline once, like `python run.py`; its folder is below `outputs/runs` by default.

    Args:
        overrides: as on the command line, one value each: `["pruner=wanda", "seed=1"]`.

    Returns:
        The run's record.

    Raises:
        UserError: the run is refused or fails, with a one-line reason.
    """
    from compress.system.packages import SWEEP, require

    require("compress.run", "sweep", *SWEEP)
    from compress.cli import call
    from compress.records.schema import FILE, read_record

    record = read_record(call("run", overrides) / FILE)
    assert record.status == "ok", "call() raises the error of a run that failed"
    return record


def sweep(overrides: Sequence[str] = ()) -> Path:
    """Runs a sweep or a search, like `python run.py -m`.

    A failed run does not end the others; its record contains the reason. A value with which no run
    is valid is refused before the first.

    Args:
        overrides: as on the command line: `["pruner=wanda", "pruner.sparsity=0.3,0.5"]`.

    Returns:
        The sweep's folder, with the report; below `outputs/sweeps` by default.

    Raises:
        UserError: the sweep is refused, with a one-line reason.
    """
    from compress.system.packages import SWEEP, require

    require("compress.sweep", "sweep", *SWEEP)
    from compress.cli import call

    return call("sweep", overrides)


def results(folder: str | Path) -> pd.DataFrame:
    """Results of the runs below a folder, one row each; see docs/columns.md for the columns.

    An unreadable record is skipped with a warning.

    Raises:
        UserError: the folder does not exist, or none of its records can be read.
    """
    import logging
    from pathlib import Path

    from compress.config.errors import UserError
    from compress.system.packages import SWEEP, require

    require("compress.results", "sweep", *SWEEP)
    from compress.records.collect import collect
    from compress.report.table import results_table

    found = collect([Path(folder)])
    if found.broken and not found.runs:
        raise UserError(found.broken[0])
    for reason in found.broken:
        logging.getLogger(__name__).warning("skipped: %s", reason)
    return results_table(found.runs, Path(folder))


def load(folder: str | Path, threads: int | None = None) -> ServedModel:
    """Loads a compressed model from its folder, after checking every file's checksum.

    A folder for ONNX Runtime or OpenVINO needs neither torch nor transformers: see
    `pip install 'compress[serve-onnxruntime]'` and `[serve-openvino]`.

    Args:
        folder: the folder that a run wrote (`<run>/model`).
        threads: of the runtime; null for its own choice.

    Returns:
        The model, ready for `classify(texts)`, `predict_proba(texts)`, `logits(texts)` and
        `predict(batch)`; of tags for words, for `entities(texts)`; of language, `generate(text)`.

    Raises:
        UserError: the folder is not a model folder, a file is missing or damaged, or a package is
            not installed.
    """
    from compress.serve.loading import load as load_folder

    return load_folder(folder, threads)
