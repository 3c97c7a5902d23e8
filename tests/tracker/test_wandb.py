from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.config.errors import ConfigError, UserError
from compress.records.curve import CurvePoint, curve_notes
from compress.records.schema import RunRecord
from compress.tracker.components.figures import figures
from compress.tracker.wandb import WandbTracker
from tests.records.test_schema import make_failed, make_record

POINTS = [CurvePoint(1, 0.5, 0.75, None), CurvePoint(2, 1.0, 0.5, 0.625)]
STEP: dict[str, Any] = {"stage": "student", "notes": curve_notes(POINTS)}


def tracker(folder: Path, **changes: Any) -> WandbTracker:
    settings = {"project": "films", "entity": None, "mode": "offline", "dir": str(folder)}
    return WandbTracker(**{**settings, **changes})


def logged(record: RunRecord, folder: Path, shared: Path) -> list[Any]:
    """The records that are in the file of a run, as the library writes them."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    tracker(folder / "wandb").log(record, shared, folder)
    wandb.teardown()  # its service writes the file's end after finish() has returned
    [path] = (folder / "wandb").rglob("run-*.wandb")
    return [wandb_internal_pb2.Record.FromString(data) for data in leveldb_log(path.read_bytes())]


def leveldb_log(content: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it, after the seven bytes of the library's own head.

    Blocks of 32 KiB of fragments: four bytes of checksum, two of length, one of kind (whole, first,
    middle, last). See doc/log_format.md of LevelDB.
    """
    place, parts = 7, []
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        length, kind = struct.unpack_from("<HB", content, place + 4)
        if left < 7 or kind == 0:
            place += left
            continue
        parts.append(content[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def values(items: Any) -> dict[str, Any]:
    return {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in items}


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    record = make_record(history=({"stage": "teacher"}, STEP))
    found = logged(record, tmp_path, tmp_path / "7")
    [run] = [each.run for each in found if each.WhichOneof("record_type") == "run"][:1]
    assert (run.project, run.display_name) == ("films", "7: wanda sparsity=0.5")
    assert list(run.tags) == ["ok"]
    config = values(run.config.update)
    assert config["pruner"] == {"sparsity": 0.5}
    steps = [values(each.history.item) for each in found if each.history.item]
    curve = [{k: v for k, v in step.items() if k[0] != "_"} for step in steps]
    assert curve == [
        {"loss/student": 0.75, "step": 1},
        {"loss/student": 0.5, "validation_loss/student": 0.625, "step": 2},
    ]
    summary: dict[str, Any] = {}
    for each in found:
        summary |= values(each.summary.update)
    assert {name: summary[name] for name in figures(record)} == figures(record)
    assert summary["recipe"] == "wanda sparsity=0.5"


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    found = logged(make_failed("no memory"), tmp_path, tmp_path / "7")
    [run] = [each.run for each in found if each.WhichOneof("record_type") == "run"][:1]
    assert (list(run.tags), run.notes) == (["failed"], "no memory")


def test_what_is_not_set_or_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"tracker\.project must be a name, got nothing"):
        tracker(tmp_path, project="")
    with pytest.raises(ConfigError, match=r"mode must be one of online, offline; got sometimes"):
        replace(tracker(tmp_path), mode="sometimes")  # type: ignore[arg-type]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tracker=wandb needs the package wandb; pip install"):
        tracker(tmp_path).check()
