from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import ConfigError
from compress.task.textfile import TextFile, line_end
from tests.configs import settings_of
from tests.task.tables import refusal


def task(*paths: Path) -> TextFile:
    listed = ",".join(map(str, paths))
    return settings_of("task", "textfile", f"task.path=[{listed}]")


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
    assert line_end("abcdefgh", 0.5, 8) == 4
    assert line_end("abc\ndefg", 0.25, 8) == 4
    assert line_end("abcdefg\n", 0.5, 8) == 4, "nothing would be left"
    assert line_end("abcde\nfg", 0.5, 6) == 4


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_texts_end_their_lines_in_any_way(end: str, tmp_path: Path) -> None:
    written = end.join(f"line {i} of the text" for i in range(40))
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + written.encode())
    expected = written.replace(end, "\n")
    made = task(tmp_path / "test.txt").passages()[0]
    assert "".join(made[role].text for role in ("train", "validation", "evaluation")) == expected
    assert all(made[role].text.endswith("\n") for role in ("train", "validation"))
    found = settings_of("task", "wikitext2", f"task.path={tmp_path}").passages()[0]
    assert found["train"].text == "\n\n".join(f"{line}\n" for line in expected.split("\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\0b", "holds NUL characters as utf-8"),
        (b"\xff\xfea\0", "byte 0xff at offset 0"),
        (b"abc\n\xff", "byte 0xff at offset 4 (line 2) is not valid utf-8"),
    ],
)
def test_texts_that_are_none_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert said in refusal(task(tmp_path / "a.txt"))


def test_a_file_is_named_once() -> None:
    with pytest.raises(ConfigError, match="must name each file once"):
        task(Path("x.txt"), Path("x.txt"))
