"""The baseline's folder in a sweep: linked once, mended when damaged; the cache never changes."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from compress.build import build_run
from compress.interfaces import CompressedModel
from compress.pipeline import execute
from compress.serve.folder import read_manifest
from compress.store.baseline import keep_baseline
from tests.configs import TINY, blank_record, compose_config
from tests.replay.test_rebench import quick_measure

WEIGHTS = "model.safetensors"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def stored(teacher: CompressedModel) -> Path:
    assert teacher.folder is not None
    return teacher.folder


def test_it_is_the_caches_own_files_under_other_names(
    teacher: CompressedModel, stored: Path, tmp_path: Path
) -> None:
    kept = keep_baseline(teacher, tmp_path)
    assert kept == tmp_path / f"baseline-{teacher.digest[:8]}"
    assert asdict(read_manifest(kept)) == asdict(read_manifest(stored))
    assert (kept / WEIGHTS).samefile(stored / WEIGHTS)
    before = (kept / WEIGHTS).stat().st_ctime_ns
    assert keep_baseline(teacher, tmp_path) == kept
    assert (kept / WEIGHTS).stat().st_ctime_ns == before, "no link was made a second time"
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_it_is_copied_where_there_are_no_links(
    teacher: CompressedModel, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr(os, "link", refuse)
    kept = keep_baseline(teacher, tmp_path)
    assert contents(kept) == contents(stored)
    assert not (kept / WEIGHTS).samefile(stored / WEIGHTS)


@pytest.mark.parametrize("name", [WEIGHTS, "manifest.json", "config.json"])
def test_a_damaged_one_is_mended(
    name: str, teacher: CompressedModel, stored: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    kept, before = keep_baseline(teacher, tmp_path), contents(stored)
    # Unlinked first: a write would go through to the cache.
    (kept / name).unlink()
    (kept / name).write_bytes(before[name][:-3])
    with caplog.at_level(logging.WARNING, logger="compress.store.baseline"):
        keep_baseline(teacher, tmp_path)
    assert "copying the baseline again" in caplog.text
    assert contents(kept) == contents(stored) == before


def test_runs_at_once_leave_one_whole_folder(teacher: CompressedModel, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        kept = set(pool.map(lambda _: keep_baseline(teacher, tmp_path), range(8)))
    assert [path.name for path in tmp_path.iterdir()] == [next(iter(kept)).name]
    read_manifest(kept.pop())


def test_runs_of_a_sweep_share_it_and_leave_the_cache_alone(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.pipeline.measure", quick_measure)
    names = set()
    for quantizer in ("none", "int8_dynamic"):
        cfg = compose_config(*TINY, f"cache.dir={cache_dir}", f"quantizer={quantizer}")
        folder = tmp_path / quantizer
        folder.mkdir()
        record = execute(build_run(cfg), folder, tmp_path, blank_record(cfg))
        names.add(record.baseline_model)
    (name,) = names
    assert name is not None
    assert name.startswith("../baseline-")
    kept = tmp_path / "none" / name
    files = read_manifest(kept).files
    assert contents(kept).keys() == {*files, "manifest.json"}
    linked = [p for p in cache_dir.rglob(WEIGHTS) if p.samefile(kept / WEIGHTS)]
    assert len(linked) == 1
    read_manifest(linked[0].parent)
