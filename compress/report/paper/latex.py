r"""results.tex: tables for a paper, made for `\input` into a document with booktabs and array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compress.records.recipe import recipe
from compress.records.schema import FinishedRun, ModelMetrics, Speedup
from compress.records.score_words import score_words
from compress.records.words import megabytes, p_digits, speedup_words
from compress.report.controls import control_rows
from compress.report.sections import Section
from compress.report.seeds import SeedRow, seed_rows, seed_words

HEADER = (
    "% Made by compress; needs \\usepackage{array,booktabs}.\n"
    "% Intervals are of 95 %: Wilson's of accuracy, a bootstrap's of speed-up."
)
# What pdflatex would take for a command, for another sign, or for an argument of the row before.
ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "&": r"\&", "%": r"\%",
    "$": r"\$", "#": r"\#", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    '"': "''", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
    "×": r"$\times$", "±": r"$\pm$", "÷": r"$\div$", "·": r"$\cdot$", "−": "$-$", "→": r"$\to$",
    "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$", "°": r"$^\circ$", "µ": r"$\mu$",
    "–": "--", "—": "---", "…": r"\dots{}", "‘": "`", "’": "'", "“": "``", "”": "''",
    "√": r"$\surd$", "α": r"$\alpha$", "σ": r"$\sigma$", "μ": r"$\mu$", "λ": r"$\lambda$",
}  # fmt: skip
# So that the widest figures fit the column of an article at its default margins.
SMALL = r"\centering\footnotesize\setlength{\tabcolsep}{4pt}"
# Letters that LaTeX's own fonts have, whatever encoding of them a document loads.
LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"


def latex_tables(sections: Sequence[Section]) -> str:
    """A booktabs table for each section: the teacher, then one row a run.

    Another one of means over the seeds, where recipes were run with several.
    """
    tables = ["\n".join(_table(section, n)) for n, section in enumerate(sections, start=1)]
    for number, section in enumerate(sections, start=1):
        if rows := seed_rows(section):
            tables.append("\n".join(_seed_table(section, rows, number)))
    return "\n\n".join([HEADER, *tables]) + "\n"


def escaped(text: str) -> str:
    """Text as one line of LaTeX that is no markup, whatever is in it.

    A character that pdflatex has no sign for is named by its code: [U+1F600].
    """
    return "".join(_sign(character) for character in " ".join(text.split()))


def _sign(character: str) -> str:
    plain = character.isascii() and character.isprintable()
    if character in ESCAPES:
        return ESCAPES[character]
    if plain or character in LETTERS:
        return character
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _table(section: Section, number: int) -> Iterator[str]:
    (_, first), baseline = section.runs[0], section.baseline
    yield r"\begin{table}"
    yield rf"  \caption{{{_caption(section)}}}"
    yield rf"  \label{{tab:results-{number}}}"
    yield f"  {SMALL}"
    yield r"  \begin{tabular}{>{\raggedright\arraybackslash}p{0.36\linewidth}rrrr}"
    yield r"    \toprule"
    words = section.kind.words
    yield _row(("Recipe", words[0].upper() + words[1:], "MB", "Speed-up", "p"))
    yield r"    \midrule"
    yield _row((escaped(f"teacher {first.choices['teacher']}"), *_figures(baseline), "1", "--"))
    for row in control_rows(record for _, record in section.runs):
        yield _row(_cells(row.title, row.record))
    yield r"    \midrule"
    several = len({record.seed for _, record in section.runs}) > 1
    for _, record in section.runs:
        seed = f", seed {record.seed}" if several else ""
        yield _row(_cells(f"{recipe(record)}{seed}", record))
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
    yield r"\end{table}"


def _seed_table(section: Section, rows: Sequence[SeedRow], number: int) -> Iterator[str]:
    """One row a recipe; the best is bold."""
    yield r"\begin{table}"
    yield rf"  \caption{{{escaped(f'{section.task}: {seed_words(section)}')}}}"
    yield rf"  \label{{tab:seeds-{number}}}"
    yield f"  {SMALL}"
    yield r"  \begin{tabular}{>{\raggedright\arraybackslash}p{0.24\linewidth}rrrrrr}"
    yield r"    \toprule"
    score = section.kind.words
    heads = ("Recipe", "Seeds", score[0].upper() + score[1:], "Change", "p", "MB", "Speed-up")
    yield _row(heads)
    yield r"    \midrule"
    for row in rows:
        cells = [escaped(cell) for cell in row.cells()]
        if row.is_best:
            cells[2] = rf"\textbf{{{cells[2]}}}"
        yield _row(cells)
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
    yield r"\end{table}"


def _caption(section: Section) -> str:
    timed = section.baseline.latency[0]
    tests = " or ".join(dict.fromkeys(record.comparison.test for _, record in section.runs))
    direction = "" if section.kind.better == "higher" else f" Lower {section.kind.words} is better."
    counts = all(each.counts for _, record in section.runs for each in record.speedup[:1])
    unmeasured = "" if counts else ", ≈1 where no difference was measured"
    change = f"the change in {section.kind.words}.{direction}"
    words = (
        f"{section.task}, n = {section.baseline.score.samples}, on {section.machine}; "
        f"{section.device}. Speed-up over the teacher at {timed.batch} × {timed.length}; "
        f"intervals of 95 %{unmeasured}; p: {tests} of {change}"
    )
    return escaped(words)


def _cells(made: str, record: FinishedRun) -> tuple[str, ...]:
    p_value = p_digits(record.comparison.p_value)
    return (
        escaped(made),
        *_figures(record.metrics),
        _speedup(record.speedup[0]) if record.speedup else "--",
        escaped(p_value),
    )


def _speedup(speed: Speedup) -> str:
    """In a few characters, whether or not it counts."""
    if speed.counts:
        return speedup_words(speed, to="--")
    return rf"$\approx$1 ({speed.low:.2f}--{speed.high:.2f})"


def _figures(metrics: ModelMetrics) -> tuple[str, str]:
    return score_words(metrics.score, 3, to="--"), megabytes(metrics.size_bytes)


def _row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"
