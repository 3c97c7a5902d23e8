"""Scores in words: values in their own units, changes, losses and axes.

What a score of its kind is called, and which way it is better, is in `compress.records.scores`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compress.records.schema import FinishedRun, Score
from compress.records.scores import INDEX_BYTES, SCORES, ScoreKind

THOUSAND, MILLION = 1e3, 1e6
DECADE = 10.0  # largest over smallest value from which a scale has to be logarithmic


def kind_of(score: Score) -> ScoreKind:
    """What kind of score counts."""
    return SCORES[score.metric]


def is_share(kind: ScoreKind) -> bool:
    """Whether it is a share of the rows, or like one, so that changes may be told in percent."""
    return kind.unit == "fraction" and kind.better == "higher"


def value_words(kind: ScoreKind, value: float, digits: int) -> str:
    """A value in its unit, with so many digits behind the point where it lies within [-1, 1]."""
    if kind.unit == "bytes":
        return f"{value:,.0f}"
    if not kind.relative:
        return f"{value:.{digits}f}"
    if value < THOUSAND:
        return f"{value:.{digits - 1}f}"
    return f"{value:,.0f}" if value < MILLION else f"{value:.2e}"


def has_own_index(record: FinishedRun) -> bool:
    """Whether documents take other bytes in the run's index than in the teacher's."""
    ours, theirs = (m.score.others.get(INDEX_BYTES) for m in (record.metrics, record.baseline))
    return ours != theirs


def document_bytes(score: Score) -> str:
    """Bytes of a document in an index; a dash without one."""
    size = score.others.get(INDEX_BYTES)
    return "–" if size is None else f"{size:,.0f}"


def score_words(score: Score, digits: int = 4, ends: int = 3, to: str = " to ") -> str:
    """The value with its interval: "0.8460 (0.821 to 0.869)"."""
    kind = kind_of(score)
    low, high = (value_words(kind, end, ends) for end in (score.low, score.high))
    return f"{value_words(kind, score.value, digits)} ({low}{to}{high})"


def difference_words(kind: ScoreKind, change: float) -> str:
    """How a value changes where its quality does: "-0.0340"; of perplexity "+4.1 %" or "× 12.3"."""
    if not kind.relative:
        return f"{kind.moved(0.0, change):+.4f}"
    ratio = kind.moved(1.0, change)
    if ratio < DECADE:
        return f"{100 * (ratio - 1):+.1f} %"
    return f"× {ratio:,.1f}" if ratio < MILLION else f"× {ratio:.2e}"


def amount_words(kind: ScoreKind, amount: float) -> str:
    """A change of quality without its sign: "3 %", or "0.03" where it is not a share."""
    return f"{100 * amount:g} %" if kind.relative or is_share(kind) else f"{amount:g}"


def at_most_words(kind: ScoreKind, amount: float) -> str:
    """Text of a budget: "at most 1 % of accuracy lost", "perplexity at most 1 % higher"."""
    lost = amount_words(kind, amount)
    if kind.better == "higher":
        return f"at most {lost} of {kind.words} lost"
    return f"{kind.words} at most {lost} higher"


def margin_words(kind: ScoreKind, amount: float) -> str:
    """An amount of quality as something that is lost: "1 point", "1 % of perplexity", "0.01"."""
    if kind.relative:
        return f"{100 * amount:g} % of {kind.words}"
    if not is_share(kind):
        return f"{amount:g} of {kind.words}"
    points = f"{100 * amount:g}"
    return f"{points} point{'' if points == '1' else 's'} of {kind.words}"


def less_than_words(kind: ScoreKind, amount: float) -> str:
    """A loss within a margin, as a verb: "lose less than 1 point of accuracy"."""
    if kind.relative:
        return f"raise {kind.words} by less than {100 * amount:g} %"
    return f"lose less than {margin_words(kind, amount)}"


def lost_words(kind: ScoreKind, change: float) -> str:
    """A change of quality as a verb: "lost 2.0 points", "gained 0.3 points", "lost nothing"."""
    if change == 0:
        return "lost nothing"
    verb, amount = ("lost", -change) if change < 0 else ("gained", change)
    if kind.relative:
        return f"{'raised' if change < 0 else 'lowered'} {kind.words} by {100 * amount:.2g} %"
    if not is_share(kind):
        return f"{verb} {amount:.2g}"
    return f"{verb} {100 * amount:.1f} points" if amount >= 0.0005 else f"{verb} under 0.1 points"


def axis_words(kind: ScoreKind, where: str = "") -> str:
    """Label of an axis: "accuracy on held-out rows", "perplexity (lower is better)"."""
    if kind.better == "lower":
        return f"{kind.words} (lower is better)"
    return f"{kind.words} {where}".strip()


def wanted_words(kind: ScoreKind) -> str:
    """What a good score makes of a model: "accurate", "high in micro F1", "low in perplexity"."""
    if kind is SCORES["accuracy"]:
        return "accurate"
    return f"{'high' if kind.better == 'higher' else 'low'} in {kind.words}"


def most_words(kind: ScoreKind) -> str:
    """Those of the best scores: "most accurate", "lowest in perplexity"."""
    if kind is SCORES["accuracy"]:
        return "most accurate"
    return f"{'highest' if kind.better == 'higher' else 'lowest'} in {kind.words}"


def is_logarithmic(kind: ScoreKind, values: Sequence[float]) -> bool:
    """Whether scores need a logarithmic scale: one model that fell apart would hide the others."""
    return kind.relative and is_wide(values)


def is_wide(values: Iterable[float]) -> bool:
    """Whether positive values span more than a decade; what is not positive is left out."""
    positive = [value for value in values if value > 0]
    return max(positive, default=1.0) > DECADE * min(positive, default=1.0)
