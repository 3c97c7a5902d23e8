"""A deployed model: from texts to labels with probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from compress.serve.folder import EMBEDDING, TAGS, Outputs
from compress.serve.session import Arrays, Session
from compress.serve.tagging import text_entities
from compress.serve.texts import TextEncoder

if TYPE_CHECKING:
    from jaxtyping import Float

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
AT_ONCE = 32  # texts in a batch


@final
class ServedModel:
    """A model, loaded from its folder by `compress.load`.

    Attributes:
        outputs: what its logits stand for.
        processor: the tokenizer or image processor of transformers, where the model needs it to
            make a batch: of images, and of texts that a language model continues. Else None.
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
        tokenizer: name of what tokenizes texts; None of models that read something else.
    """

    def __init__(
        self,
        session: Session,
        encoder: TextEncoder | None,
        outputs: Outputs,
        processor: Any = None,
        columns: int | None = None,
    ) -> None:
        """Takes what runs batches, and what makes them of texts, `columns` of them in a row."""
        self._session, self._encoder = session, encoder
        self.outputs, self.processor, self._columns = outputs, processor, columns
        self.precision = session.precision
        self.tokenizer = None if encoder is None else encoder.name

    def predict(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch: B × outputs, or B × L × vocabulary of a language model.

        Args:
            batch: arrays by the names of the model's inputs.

        Raises:
            UserError: the batch is longer than the model's table of positions.
        """
        return self._session.run(batch)

    def logits(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[np.ndarray, "B outputs"]:
        """Logits of texts, tokenized and truncated as the rows of the model's task.

        Args:
            texts: one or more, in any number: they go through the model in batches.
            seconds: the second texts where rows are pairs.

        Raises:
            TypeError: the model reads no single texts, or pairs, or `texts` is no list of texts.
            ValueError: there is no text, or the number of second texts is another one.
        """
        return np.concatenate([*self._parts(texts, seconds)])

    def predict_proba(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[np.ndarray, "B classes"]:
        """Probabilities of the classes of texts, with the temperature that was fitted in the run.

        Those of several labels a text are each by itself.

        Raises:
            TypeError: the model is no classifier of texts.
            ValueError: see `logits`.
        """
        if self.outputs.problem not in (SINGLE, MULTI):
            raise TypeError(f"the model has no classes; use {self._uses}")
        scaled = self.logits(texts, seconds).astype(np.float64) / self.outputs.temperature
        return _softmax(scaled) if self.outputs.problem == SINGLE else _sigmoid(scaled)

    def classify(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """The label of each text with its probability: [{"label": "positive", "score": 0.98}].

        Of models with several labels a text, all labels with a probability of at least one half:
        [{"labels": ["a", "b"], "scores": [0.9, 0.6]}].

        Raises:
            TypeError: the model is no classifier of texts.
            ValueError: see `logits`.
        """
        names = self.outputs.labels
        found: list[dict[str, Any]] = []
        for row in self.predict_proba(texts, seconds).tolist():
            if self.outputs.problem == MULTI:
                chosen = [(n, p) for n, p in zip(names, row, strict=True) if p >= 0.5]
                found.append({"labels": [n for n, _ in chosen], "scores": [p for _, p in chosen]})
            else:
                best = max(range(len(row)), key=row.__getitem__)
                found.append({"label": names[best], "score": row[best]})
        return found

    def entities(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The entities of each text: [{"type": "person", "text": "Ada", "start": 0, "end": 3, …}].

        With "score", the mean probability of its words' tags. Words are runs of letters and digits,
        with the hyphens, dots and the like inside them; signs are words by themselves. Texts of any
        length are read in parts.

        Raises:
            TypeError: the model tags no words, or `texts` is no list of texts.
        """
        if self.outputs.problem != TAGS or self._encoder is None:
            raise TypeError(f"the model tags no words; use {self._uses}")
        _check_texts(texts)
        return text_entities(self._session, self._encoder, self.outputs, texts)

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "B D"]:
        """The vector of each text, pooled and normalized as the model's teacher was.

        What its teacher had to have before each text, such as "query: ", is not added.

        Raises:
            TypeError: the model embeds no texts, or `texts` is no list of texts.
            ValueError: there is no text.
        """
        if self.outputs.problem != EMBEDDING:
            raise TypeError(f"the model embeds no texts; use {self._uses}")
        return self.logits(texts)

    def generate(self, text: str, tokens: int = 64) -> str:
        """The greedy continuation of a text, up to the first token that ends one.

        Args:
            text: at least one token long.
            tokens: how many there are at most.

        Raises:
            TypeError: the model generates no text, or this is no text.
            ValueError: the text has no token or is not valid Unicode, or there is no token to
                generate.
            UserError: the text with its continuation is longer than the model's table of positions.
        """
        if not self._session.decodes:
            raise TypeError(f"the model generates no text; use {self._uses}")
        if not isinstance(text, str):
            raise TypeError(f"text must be one text, got {type(text).__name__}")
        _check_texts([text])
        prompt = self.processor(text, return_tensors="np")["input_ids"]
        if tokens < 1 or not prompt.size:
            what = "tokens must be at least 1" if tokens < 1 else "text must have a token"
            raise ValueError(f"{what}, got {tokens if tokens < 1 else text!r}")
        ends = self.outputs.ends or (self.processor.eos_token_id,)
        found = itertools.takewhile(lambda e: e not in ends, self._session.decode(prompt, tokens))
        continuation: str = self.processor.decode(list(found))
        return continuation

    @property
    def _uses(self) -> str:
        """What the model can do, for messages."""
        if self._session.decodes:
            return "generate, or predict"
        known = {SINGLE: "classify", MULTI: "classify", TAGS: "entities", EMBEDDING: "embed"}
        found = [known[self.outputs.problem]] if self.outputs.problem in known else []
        return ", ".join([*found, "logits, or predict"])

    def _parts(
        self, texts: Sequence[str], seconds: Sequence[str] | None
    ) -> Iterator[Float[np.ndarray, "batch outputs"]]:
        """Logits of one batch after the other."""
        if self._encoder is None:
            raise TypeError(
                "the model reads no single texts; use model.predict(model.processor(…, "
                "return_tensors='np'))"
            )
        columns = [texts] if seconds is None else [texts, seconds]
        if len(columns) != (self._columns or len(columns)):
            raise TypeError(
                "the model reads pairs of texts: give as many second ones"
                if seconds is None
                else "the model reads single texts, got second ones"
            )
        for column in columns:
            _check_texts(column)
        if not len(texts):
            raise ValueError("expected one or more texts, got none")
        if seconds is not None and len(seconds) != len(texts):
            raise ValueError(f"expected as many second texts as {len(texts)}, got {len(seconds)}")
        for start in range(0, len(texts), AT_ONCE):
            some = [column[start : start + AT_ONCE] for column in columns]
            yield self._session.run(self._encoder.encode(some, self._encoder.max_length))


def _softmax(logits: Float[np.ndarray, "B classes"]) -> Float[np.ndarray, "B classes"]:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    likely: Float[np.ndarray, "B classes"] = shifted / shifted.sum(axis=-1, keepdims=True)
    return likely


def _sigmoid(logits: Float[np.ndarray, "B classes"]) -> Float[np.ndarray, "B classes"]:
    likely: Float[np.ndarray, "B classes"] = (1 + np.tanh(logits / 2)) / 2  # without overflow
    return likely


def _check_texts(texts: Any) -> None:
    """Raises a TypeError if these are not a list, tuple or array of texts."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts must be a list of texts, got one {type(texts).__name__}")
    listed = hasattr(texts, "__len__") and hasattr(texts, "__getitem__")
    if not listed or isinstance(texts, Mapping):
        raise TypeError(f"texts must be a list of texts, got {type(texts).__name__}")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts must be a list of texts, got {text!r} at place {place}")
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise ValueError(f"texts must be valid Unicode, got {text!a} at place {place}")
