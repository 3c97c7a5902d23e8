"""Entities of texts, from logits of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.serve.folder import Outputs
from compress.serve.session import Session
from compress.serve.texts import TextEncoder
from compress.serve.words import (
    Window,
    entities,
    first_tokens,
    joined_spans,
    token_counts,
    windows,
    word_spans,
)

if TYPE_CHECKING:
    from jaxtyping import Float

AT_ONCE = 32  # rows in a batch


def text_entities(
    session: Session, encoder: TextEncoder, outputs: Outputs, texts: Sequence[str]
) -> list[list[dict[str, Any]]]:
    """The entities of each text; see `ServedModel.entities`."""
    spans = [word_spans(text) for text in texts]
    words = [[text[slice(*span)] for span in each] for text, each in zip(texts, spans, strict=True)]
    likely = word_probabilities(session, encoder, outputs, words)
    found: list[list[dict[str, Any]]] = []
    for text, places, rows in zip(texts, spans, likely, strict=True):
        tags = [outputs.labels[row.argmax()] for row in rows]
        found.append([])
        for kind, first, last in entities(tags):
            start, end = places[first][0], places[last][1]
            score = float(np.mean([row.max() for row in rows[first : last + 1]]))
            entity = {"type": kind, "text": text[start:end], "start": start, "end": end}
            found[-1].append({**entity, "score": score})
    return found


def word_probabilities(
    session: Session, encoder: TextEncoder, outputs: Outputs, texts: Sequence[Sequence[str]]
) -> list[list[Float[np.ndarray, " tags"]]]:
    """The probabilities of each word's tags, by text; a word without tokens has none outside O."""
    rows = [(n, window) for n, found in enumerate(_cut(encoder, texts)) for window in found]
    nothing = np.eye(len(outputs.labels))[0]
    found = [[nothing for _ in words] for words in texts]
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        parts = [texts[number][window.begin : window.end] for number, window in some]
        joined = [" ".join(part) for part in parts]
        batch = encoder.encode([joined], None)
        logits = session.run(batch).astype(np.float64) / outputs.temperature
        pairs = zip(some, parts, encoder.offsets(joined), logits, strict=True)
        for place, ((number, window), part, offsets, row) in enumerate(pairs):
            shift = int(batch["attention_mask"][place].argmax())  # of a row padded on its left
            for at, token in enumerate(first_tokens(joined_spans(part), offsets), window.begin):
                if window.first <= at < window.last and 0 <= token < len(row) - shift:
                    found[number][at] = _softmax(row[token + shift])
    return found


def _cut(encoder: TextEncoder, texts: Sequence[Sequence[str]]) -> Iterator[list[Window]]:
    """Parts of each text that a row can take; none of a text without words."""
    for words, offsets in zip(texts, encoder.offsets([*map(" ".join, texts)]), strict=True):
        specials = sum(begin == end for begin, end in offsets)
        most = len(offsets) if encoder.max_length is None else encoder.max_length - specials
        yield list(windows(token_counts([*joined_spans(words)], offsets), most))


def _softmax(logits: Float[np.ndarray, " tags"]) -> Float[np.ndarray, " tags"]:
    shifted = np.exp(logits - logits.max())
    likely: Float[np.ndarray, " tags"] = shifted / shifted.sum()
    return likely
