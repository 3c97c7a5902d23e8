"""One cell of the matrix: a run of one architecture through one stage, and what became of it."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from transformers import PreTrainedModel

from compress.build import build_run
from compress.config.errors import UserError
from compress.interfaces import Split
from compress.job import one_line
from compress.pipeline import MODEL_FOLDER, execute
from compress.records.schema import RunRecord
from compress.runtime.components.onnx_export import export_graph, quiet
from compress.stage.forecast import forecast
from compress.stage.run import Run
from tests.configs import blank_record, compose_config
from tests.matrix.evaluators import as_foreseen, evaluator_of
from tests.matrix.made import Made
from tests.matrix.models import Model
from tests.matrix.stages import Stage

OUTCOMES = RIGHT, REFUSED, LATE, WRONG = "right", "refused", "late", "wrong"


@dataclass(frozen=True)
class Cell:
    """What became of a run.

    Attributes:
        outcome: right; refused: one line before any work; late: an error once work had begun, or
            a bug; wrong: numbers that are not those of plain transformers.
        words: why not, in one line; empty where it is right.
    """

    architecture: str
    stage: str
    outcome: str
    words: str = ""


class _Made(Exception):
    """The artifact was written and read back; what is left of the run is timing."""


def find_cell(model: Model, stage: Stage, scratch: Path) -> Cell:
    """Runs a cell for real, up to timing; the plain run of an architecture to its end.

    Args:
        model: of the architecture.
        stage: what is done to it.
        scratch: a folder for the run, which is deleted again.
    """
    outcome, words = _outcome(model, stage, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    shown = words.replace(str(scratch), "…").replace(str(model.home), "…")
    return Cell(model.name, stage.name, outcome, shown)


def _outcome(model: Model, stage: Stage, scratch: Path) -> tuple[str, str]:
    cache = scratch / "cache"
    overrides = [each.format(other=model.other) for each in stage.overrides]
    with quiet():
        try:
            cfg = compose_config(*model.overrides, *overrides, f"cache.dir={cache}")
            run = build_run(cfg)
        except UserError as error:
            return REFUSED, one_line(error)
        except Exception as error:
            return LATE, _words("before work", error)
        folder = scratch / "run"
        folder.mkdir(parents=True)
        try:
            with exports_kept(model.graphs):
                _execute(run, folder, blank_record(cfg), whole=stage.plain)
        except UserError as error:
            began = any(cache.rglob("manifest.json"))
            return (LATE, f"late: {one_line(error)}") if began else (REFUSED, one_line(error))
        except Exception as error:
            return LATE, _words("in the run", error)
        try:
            made = Made(model, stage, folder / MODEL_FOLDER, cache)
            evaluator_of(stage)(made)
            if stage.runtime == "torch":  # elsewhere equal weights are stored once
                as_foreseen(made, forecast(run))
        except ValueError as error:
            return WRONG, one_line(error).removeprefix("ValueError: ")
        except Exception as error:
            return WRONG, _words("when read", error)
    return RIGHT, ""


def _execute(run: Run, folder: Path, record: RunRecord, *, whole: bool) -> None:
    """A run, to its end or until its model has been read back."""
    if whole:
        execute(run, folder, folder, record)
        return
    with (
        mock.patch("compress.measure.environment.WINDOW_SECONDS", 0.001),
        mock.patch("compress.pipeline.measure", side_effect=_Made),
        contextlib.suppress(_Made),
    ):
        execute(run, folder, folder, record)


@contextlib.contextmanager
def exports_kept(kept: dict[str, Any]) -> Iterator[None]:
    """Within it a model is exported to ONNX once, whatever runtime and format it is for.

    Args:
        kept: graphs by the weights that they were made of.
    """

    def export(module: PreTrainedModel, tokenizer: Any, rows: Split) -> Any:
        state = hashlib.sha256()
        for name, tensor in module.state_dict().items():
            state.update(name.encode() + bytes(tensor.contiguous().view(-1).numpy().data))
        key = state.hexdigest()
        if key not in kept:
            kept[key] = export_graph(module, tokenizer, rows)
        return copy.deepcopy(kept[key])

    with contextlib.ExitStack() as patches:
        for runtime in ("openvino", "onnxruntime"):
            patches.enter_context(mock.patch(f"compress.runtime.{runtime}.export_graph", export))
        yield


def _words(where: str, error: Exception) -> str:
    """What went wrong, and in which line of the package."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/compress/" in f.filename]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{where}: {one_line(error)[:300]}{place}"
