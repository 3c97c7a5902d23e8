"""The matrix as docs/architectures.md, and read back from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tests.matrix.cells import LATE, OUTCOMES, REFUSED, RIGHT, WRONG, Cell
from tests.matrix.stages import Stage, every_stage
from tests.sizes import ARCHITECTURES

COMMAND = "python -m benchmarks.architectures docs/architectures.md"
INTRODUCTION = """\
# Architectures and stages

Each cell is a real run of a tiny random model of the architecture (about 32 wide, 4 layers)
through one stage with its default settings: compressed, exported, and reloaded from disk. Its
logits, of single rows and of padded batches, are compared with those of plain transformers. Rows
that end with `_lm` are language models and `_tags` models with tags of words, whose logits of every
token are compared; `_embed` are embedders of texts, whose vectors are:

- nothing, students and `vocabulary`: the checkpoint's own logits, or those that plain transformers
  computes from the exported folder after training;
- weights set to zero: plain transformers loads the folder and computes the same; the target
  sparsity holds in every layer; for `magnitude`, the mask is computed independently;
- units, ranks and layers removed: the original model with the units' weights at zero, with the
  weights' truncated SVD, or with layers that return their input;
- integer weights: the original model with the dequantized weights in place of its own, and these
  within the format's error; for formats that choose weights by the layers' outputs, those are;
- rounded activations, and formats of 16 bits: off by a stated share of the logits' spread, with a
  correlation of at least 0.93 (0.8 in `int8_static`).

| mark | meaning |
| --- | --- |
| ✓ | supported: the logits are right |
| 1, 2, … | refused before any work, with the message of that number below |
"""
MARKS = {RIGHT: "✓", REFUSED: "", LATE: "late ", WRONG: "wrong "}
TITLES = {
    ("torch", "student"): "Students (torch)",
    ("torch", "pruner"): "Pruners (torch)",
    ("torch", "quantizer"): "Numeric formats in torch",
    ("onnxruntime", "quantizer"): "Numeric formats in ONNX Runtime",
    ("openvino", "quantizer"): "Numeric formats in OpenVINO",
}
MESSAGES = "## Messages"


def page(cells: Sequence[Cell], stages: Sequence[Stage], told: str) -> str:
    """The whole page.

    Args:
        cells: every architecture's, of every stage.
        stages: the columns.
        told: when, where and in which time they were found.
    """
    return "\n".join([INTRODUCTION, f"{told}\n", *body(cells, stages)]) + "\n"


def body(cells: Sequence[Cell], stages: Sequence[Stage]) -> Iterator[str]:
    """Counts, tables and messages."""
    numbers = {words: i for i, words in enumerate(_messages(cells), start=1)}
    marks = {(c.architecture, c.stage): _mark(c, numbers) for c in cells}
    counts = (f"{sum(c.outcome == each for c in cells)} {each}" for each in OUTCOMES)
    yield f"{len(cells)} cells: {', '.join(counts)}."
    names = list(dict.fromkeys(cell.architecture for cell in cells))
    for (runtime, group), title in TITLES.items():
        columns = [s for s in stages if (s.runtime, s.group) == (runtime, group)]
        yield from ("", f"## {title}", "")
        yield _row("architecture", [stage.title for stage in columns])
        yield _row("---", [":-:"] * len(columns))
        for name in names:
            yield _row(name, [marks[name, stage.name] for stage in columns])
    yield from ("", MESSAGES, "")
    yield from (f"{number}. {_escaped(words)}" for words, number in numbers.items())


def read_page(text: str) -> list[Cell]:
    """The cells of a page."""
    tables, _, messages = text.partition(f"\n{MESSAGES}\n")
    words = dict(re.findall(r"^(\d+)\. (.*)$", messages, re.MULTILINE))
    found = []
    for (runtime, group), title in TITLES.items():
        lines = tables.partition(f"## {title}\n")[2].partition("\n## ")[0].strip().splitlines()
        titles = _cells_of(lines[0])[1:]
        for line in lines[2:]:
            name, *marks = _cells_of(line)
            stages = (Stage(group, title, "", runtime=runtime).name for title in titles)
            found += [
                _cell(name, stage, mark, words) for stage, mark in zip(stages, marks, strict=True)
            ]
    return found


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Cells by architecture and stage, in the order of the tables of these."""
    rows, columns = list(ARCHITECTURES), [stage.name for stage in every_stage()]
    return sorted(cells, key=lambda c: (rows.index(c.architecture), columns.index(c.stage)))


def _messages(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.words for cell in cells if cell.words))


def _mark(cell: Cell, numbers: dict[str, int]) -> str:
    return MARKS[cell.outcome] + (str(numbers[cell.words]) if cell.words else "")


def _cell(name: str, stage: str, mark: str, words: dict[str, str]) -> Cell:
    outcomes = (outcome for outcome in (RIGHT, LATE, WRONG) if mark.startswith(MARKS[outcome]))
    outcome = next(outcomes, REFUSED)
    number = mark.removeprefix(MARKS[outcome])
    return Cell(name, stage, outcome, _plain(words[number]) if number else "")


def _row(name: str, marks: Sequence[str]) -> str:
    return f"| {' | '.join([name, *marks])} |"


def _cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _escaped(words: str) -> str:
    """Words that Markdown shows as they are."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", words)


def _plain(words: str) -> str:
    return re.sub(r"\\(.)", r"\1", words)
