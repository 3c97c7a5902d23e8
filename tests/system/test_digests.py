from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compress.system.digests import file_digest


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
    monkeypatch.setattr("compress.system.digests.SETTLED_NS", -1)
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
    monkeypatch.setattr("compress.system.digests.SETTLED_NS", -1)
    first = file_digest(path)
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert file_digest(path) != first
