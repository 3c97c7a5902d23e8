from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.task.textfile import TextFile, line_end
from tests.configs import settings_of


def task(*paths: Path) -> TextFile:
    listed = ",".join(map(str, paths))
    made = settings_of("task", "textfile", f"task.path=[{listed}]")
    assert isinstance(made, TextFile)
    return made


def test_parts_lie_one_behind_the_other_and_end_with_a_line(tmp_path: Path) -> None:
    text = "".join(f"line {i}\n" for i in range(100))
    (tmp_path / "a.txt").write_text(text)
    passages, words = task(tmp_path / "a.txt").passages()
    parts = [passages[role].text for role in ("train", "validation", "evaluation")]
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts)
    assert [round(len(part) / len(text), 1) for part in parts] == [0.8, 0.1, 0.1]
    assert "a.txt" in words


def test_files_make_one_text_in_their_order(tmp_path: Path) -> None:
    for name, letter in (("one", "a"), ("two", "b")):
        (tmp_path / name).write_text(letter * 50)
    passages, words = task(tmp_path / "one", tmp_path / "two").passages()
    assert "".join(p.text for p in passages.values()) == "a" * 50 + "\n\n" + "b" * 50
    assert "one, two" in words


def test_a_text_without_ends_of_lines_is_cut_where_the_share_ends() -> None:
    assert line_end("abcdefgh", 0.5) == 4
    assert line_end("abc\ndefg", 0.25) == 4


def test_a_byte_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\n\xff")
    with pytest.raises(UserError, match=r"byte 0xff at offset 4 \(line 2\) is not valid utf-8"):
        task(tmp_path / "a.txt").load()
