"""The model card: README.md of a model folder, written from the record of its run.

Headings follow the Hugging Face hub (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compress.records.curve import CURVES
from compress.records.markdown import plain_text
from compress.records.probabilities import RELIABILITY_WORDS, Calibration
from compress.records.recipe import index_words, recipe, remake_command
from compress.records.schema import Comparison, FinishedRun, ModelMetrics, Score
from compress.records.score_words import kind_of, score_words, value_words
from compress.records.scores import SCORES
from compress.records.words import (
    NO_DIFFERENCE,
    UNCERTAIN_TIMES,
    median_words,
    megabytes,
    p_words,
    plain_words,
    saved_words,
    shape_words,
    significant,
    speedup_words,
    target_sparsity,
    transfer_words,
)
from compress.serve.folder import CARD, PLAIN_WEIGHTS, RunSpec, read_spec
from compress.store.card_front import front_matter
from compress.store.card_usage import usage
from compress.system.files import write_atomically

DIGITS = 4  # of scores


def model_card(record: FinishedRun, spec: RunSpec, *, plain: bool) -> str:
    """The card of a measured model, as Markdown.

    Args:
        record: of the run that made it.
        spec: how the model is run.
        plain: whether transformers' own `from_pretrained` reads the folder.
    """
    sections = [
        front_matter(record, spec.architecture, plain=plain),
        f"# {plain_text(record.choices['teacher'])} on {plain_text(record.choices['task'])}: "
        f"{plain_text(recipe(record))}",
        usage(
            spec,
            plain=plain,
            classes=record.metrics.classes != (),
            temperature=_temperature(record.metrics),
        ),
        *_read_as(record),
        "## Figures",
        "Measured on this folder, read back from disk, beside its teacher; intervals are of 95 %.",
        _figures(record),
        *[plain_text(words) for words in _sentences(record)],
        f"Rows: {plain_text(record.data.source)}. {_transfer(record)}{_machine(record)}",
        "## How it was made",
        _code(remake_command(record), "sh"),
        *[_step(step) for step in record.history],
    ]
    return "\n\n".join(sections) + "\n"


def _read_as(record: FinishedRun) -> list[str]:
    """What texts began with, and what of the vectors was kept, where that is not as they are."""
    task = record.settings("task")
    prefixes = task.get("prefixes") or [task.get("prefix")]
    names = ("Each query", "Each document") if len(prefixes) > 1 else ("Each text",)
    words = [
        f"{name} began with {prefix!r}, which is to be added."
        for name, prefix in zip(names, prefixes, strict=True)
        if prefix
    ]
    if index := index_words(record):
        words.append(
            f"The scores are of an index with {index} (docs/tasks.md, Embeddings); the model gives "
            "whole vectors."
        )
    return [plain_text(each) for each in words]


def write_card(record: FinishedRun, folder: Path) -> None:
    """Writes the model card into a model folder."""
    plain = (folder / PLAIN_WEIGHTS).is_file()
    text = model_card(record, read_spec(folder), plain=plain)
    write_atomically(folder / CARD, text)


def _figures(record: FinishedRun) -> str:
    ours, theirs = record.metrics, record.baseline
    asked = target_sparsity(record)
    rows = [
        ("", "this model", "teacher"),
        *_scores(ours.score, theirs.score),
        *_probabilities(ours.calibration, theirs.calibration),
        ("runtime", ours.runtime, theirs.runtime),
        ("computes in", ours.precision or "–", theirs.precision or "–"),
        ("tokenizer", ours.tokenizer or "–", theirs.tokenizer or "–"),
        ("parameters", f"{ours.parameters:,}", f"{theirs.parameters:,}"),
        ("target sparsity", "–" if asked is None else f"{asked:.1%}", "–"),
        ("zeros in the Linear layers", f"{ours.sparsity:.1%}", f"{theirs.sparsity:.1%}"),
        ("size", *_megabytes(record, "size_bytes")),
        ("bytes saved", saved_words(record), "–"),
        ("size as a zip file", *_megabytes(record, "zipped_bytes")),
        ("size as a bit mask and nonzero values", *_megabytes(record, "bitmask_bytes")),
        ("resident memory after inference", *_megabytes(record, "resident_bytes")),
        ("peak memory during inference", *_megabytes(record, "peak_memory_bytes")),
    ]
    for speed, mine, other in zip(record.speedup, ours.latency, theirs.latency, strict=True):
        shape = shape_words(mine)
        medians = f"{median_words(speed, mine, other, 2)} ms", f"{other.median_ms:.2f} ms"
        rows.append((f"median latency, {shape}", *medians))
        rows.append((f"speed-up, {shape}", speedup_words(speed), "1"))
        whole = _milliseconds(mine.text_to_label_ms), _milliseconds(other.text_to_label_ms)
        rows.append((f"median from text to label, {shape}", *whole))
    # Rows without a value for either model are left out.
    known = [row for row in rows if row[1:] != ("–", "–")]
    lines = [f"| {' | '.join(row)} |" for row in known]
    return "\n".join([lines[0], "| --- | --- | --- |", *lines[1:]])


def _scores(ours: Score, theirs: Score) -> list[tuple[str, str, str]]:
    """Table rows of the primary metric with intervals, and of the other metrics."""
    name = f"{kind_of(ours).words}, n = {ours.samples}"
    mine, other = (score_words(each, DIGITS, DIGITS) for each in (ours, theirs))
    return [(name, mine, other), *(_other(name, ours, theirs) for name in ours.others)]


def _other(name: str, ours: Score, theirs: Score) -> tuple[str, str, str]:
    """Table row of another metric; metrics per label of the user have no display name."""
    known = SCORES.get(name)
    values = [score.others.get(name) for score in (ours, theirs)]
    mine, other = (
        "–" if value is None
        else value_words(known, value, DIGITS) if known
        else f"{value:.{DIGITS}f}"
        for value in values
    )  # fmt: skip
    return (plain_text(name) if known is None else known.words), mine, other


def _probabilities(
    ours: Calibration | None, theirs: Calibration | None
) -> Iterator[tuple[str, str, str]]:
    """Table rows of a classifier's probabilities, with their temperatures."""
    if ours is None or theirs is None:
        return
    for name, words in RELIABILITY_WORDS.items():
        mine, other = (f"{getattr(each.scaled, name):.4f}" for each in (ours, theirs))
        yield words, mine, other
    yield "temperature of these", f"{ours.temperature:.3f}", f"{theirs.temperature:.3f}"


def _temperature(metrics: ModelMetrics) -> float | None:
    """What logits are divided by before a softmax; None where no row has one class alone."""
    found = metrics.calibration
    return found.temperature if found is not None and metrics.confusion else None


def _megabytes(record: FinishedRun, figure: str) -> tuple[str, str]:
    """A figure of the model and its teacher in megabytes."""
    values = [megabytes(getattr(metrics, figure)) for metrics in (record.metrics, record.baseline)]
    ours, theirs = (value if value == "–" else f"{value} MB" for value in values)
    return ours, theirs


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms"


def _sentences(record: FinishedRun) -> list[str]:
    """Sentences that interpret the figures."""
    found = record.comparison
    words = plain_words(record)
    if found is not None:
        words.append(_against_teacher(found, kind_of(record.metrics.score).words))
    if not all(speed.counts for speed in record.speedup):
        words.append(
            f"{NO_DIFFERENCE.capitalize()}: the interval contains 1, or lies within the range of "
            "that of the teacher timed against itself. "
            f"{UNCERTAIN_TIMES}."
        )
    return words


def _against_teacher(found: Comparison, score: str) -> str:
    """Sentence that compares predictions and scores; regression has no equal predictions."""
    verdict = "statistically significant" if significant(found) else "not statistically significant"
    proof = f"{verdict} ({found.test}, {p_words(found)})"
    if found.agreement is not None and found.n_regressed is not None:
        return (
            f"It agrees with its teacher on {found.agreement:.1%} of the rows; {found.n_regressed} "
            f"rows regressed and {found.n_improved} improved; the difference is {proof}."
        )
    same = (
        "" if found.agreement is None
        else f"It agrees with its teacher {found.agreement:.1%} of the time. "
    )  # fmt: skip
    return f"{same}The difference in {score} from its teacher is {proof}."


def _machine(record: FinishedRun) -> str:
    env = record.environment
    assert env is not None
    versions = ", ".join(f"{name} {version}" for name, version in env.versions.items())
    facts = [env.machine, env.device, *([f"governor {env.governor}"] if env.governor else [])]
    busy = f" It was busy: {env.busy}." if env.busy else ""
    return plain_text(f"Machine: {'; '.join([*facts, versions])}.{busy}")


def _transfer(record: FinishedRun) -> str:
    """The texts without labels that the model learned from, if any."""
    found = record.data.transfer
    return "" if found is None else f"Transfer text: {plain_text(transfer_words(found))}. "


def _step(step: dict[str, Any]) -> str:
    """Settings and notes of one stage, without the learning curves, which are too long."""
    notes = {name: note for name, note in step.get("notes", {}).items() if name not in CURVES}
    content = {**step.get("settings", {}), **notes}
    return f"**{plain_text(step['stage'])}**\n\n{_code(json.dumps(content, indent=1), 'json')}"


def _code(text: str, language: str) -> str:
    """Code block whose fence is longer than any run of backticks inside."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
