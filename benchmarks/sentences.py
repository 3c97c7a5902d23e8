"""Sentences to distill embedders on: `python -m benchmarks.sentences OUT WIKITEXT GLUE`.

WIKITEXT is the folder of tokenized WikiText-2, GLUE one with RTE, CoLA and SST-2. The texts of
their train splits are taken apart into sentences; those of 3 to 40 words are written once each, a
line each, without labels.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from compress.task.components.sentences import sentences

WORDS = range(3, 41)
TITLE = " = "  # at the beginning of a heading


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("wikitext", type=Path, help="a folder with train.txt")
    parser.add_argument("glue", type=Path, help="a folder with a folder of each task")
    arguments = parser.parse_args()
    found = [*_wikitext(arguments.wikitext / "train.txt"), *_glue(arguments.glue)]
    kept = dict.fromkeys(text for text in found if len(text.split()) in WORDS)
    with arguments.out.open("x", encoding="utf-8") as file:
        file.write("\n".join(kept))
    print(f"{len(kept):,} sentences of {len(found):,}")  # noqa: T201


def _wikitext(path: Path) -> Iterator[str]:
    """With what tokenization took apart put together; rare words are left out."""
    for line in _lines(path):
        if line.strip() and not line.startswith(TITLE):
            joined = re.sub(r" @(.)@ ", r"\1", line.replace("<unk>", ""))
            yield from (" ".join([*part.split(), "."]) for part in joined.split(" . "))


def _glue(folder: Path) -> Iterator[str]:
    for row in _rows(folder / "RTE" / "train.tsv")[1:]:
        yield from (" ".join(part.split()) for text in row[1:3] for part in sentences(text))
    yield from (" ".join(row[3].split()) for row in _rows(folder / "CoLA" / "train.tsv"))
    yield from (" ".join(row[0].split()) for row in _rows(folder / "SST-2" / "train.tsv")[1:])


def _rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    """Lines end at line feeds alone, as in the files' own format."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


if __name__ == "__main__":
    main()
