"""The shapes that students of one teacher can have: their skeletons, counts and digest."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from compress.config.errors import ConfigError
from compress.costs.facts import NEURONS, Facts, facts_of, parts_of, total
from compress.costs.space import WHERE, Sizes, Space
from compress.shaping.order import ByPlace
from compress.shaping.shape import cut_sizes_
from compress.shaping.vocabulary import check_vocabulary, keep_tokens_
from compress.transformer.activations import activation_name
from compress.transformer.blocks import known_blocks
from compress.transformer.positions import position_count
from compress.transformer.stacks import evenly_spaced, find_stack
from compress.transformer.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.stage.run import Run


class Family:
    """The students that have some of a teacher's layers, cut to a shape."""

    def __init__(self, run: Run, space: Space) -> None:
        """Checks that every size in the space is possible; reads no weights.

        Raises:
            UserError: the teacher cannot be cut to one, or the student would not take the rows.
        """
        self.space = space
        self._run = run
        self._teacher = run.teacher.skeleton(run.task.head)
        self._parts: dict[Sizes, tuple[Facts, list[Facts]]] = {}
        largest = space.largest()
        for name, values in space.axes().items():
            for value in values:
                self.skeleton(replace(largest, **{name: value}))

    def skeleton(self, sizes: Sizes) -> PreTrainedModel:
        """The student's skeleton, checked as a run checks it.

        Raises:
            UserError: there can be no student of these sizes.
        """
        self.space.check(sizes)
        module = self._shortened(sizes)
        if sizes.vocabulary is not None:
            key = f"{WHERE}.vocabulary"
            check_vocabulary(module, key, {key: sizes.vocabulary})
            keep_tokens_(module, {number: number for number in range(sizes.vocabulary)})
        sizes.shape().check(module, WHERE)
        self._run.task.check_model(module)
        self._check_lengths(module)
        return module

    def facts(self, sizes: Sizes, tokens: int | None = None) -> Facts:
        """The counts of a shape; much faster than those of its skeleton.

        Args:
            sizes: of the shape.
            tokens: how many the rows have, where they are fewer than the vocabulary may have.

        Raises:
            ConfigError: the shape lies outside of the space.
        """
        self.space.check(sizes)
        depth = find_stack(self._teacher).depth
        vocabulary = sizes.vocabulary if tokens is None else tokens
        key = replace(sizes, layers=depth, activation=None, vocabulary=vocabulary)
        if key not in self._parts:
            module = self._shortened(key)
            if key.vocabulary is not None:
                keep_tokens_(module, {number: number for number in range(key.vocabulary)})
            cut_sizes_(module, key.cuts(), ByPlace(), WHERE)
            self._parts[key] = parts_of(module)
        outside, layers = self._parts[key]
        found = dict(total([outside, *(layers[i] for i in evenly_spaced(sizes.layers, depth))]))
        if sizes.activation is not None:
            own = f"{NEURONS}{activation_name(self._teacher)}"
            found[f"{NEURONS}{sizes.activation}"] = found.pop(own)
        return found

    def shorten_(self, module: PreTrainedModel, sizes: Sizes) -> None:
        """Keeps as many layers of a model with all the teacher's layers."""
        keep_blocks_(module, evenly_spaced(sizes.layers, find_stack(module).depth))

    def tokens(self) -> dict[str, Any] | None:
        """What the tokens of smaller vocabularies depend on; None if there are no such ones."""
        if all(size is None for size in self.space.vocabulary):
            return None
        return {"rows": self._run.task.describe(), "tokenizer": self._run.teacher.describe()}

    def named(self, sizes: Sizes) -> dict[str, str]:
        """The sizes in words, the teacher's own where nothing was cut."""
        block = known_blocks(self._teacher)[0]
        tokens = int(facts_of(self._teacher)["tokens"])
        own: dict[str, object] = {
            "layers": sizes.layers,
            "hidden": block.width,
            "heads": block.heads,
            "neurons": block.neurons,
            "embedding": "–",
            "activation": activation_name(self._teacher),
            "vocabulary": tokens or "–",
            "positions": position_count(self._teacher) or "–",
        }
        asked = {name: value for name, value in asdict(sizes).items() if value is not None}
        return {name: str(value) for name, value in {**own, **asked}.items()}

    def digest(self) -> str:
        """Digest of what the teacher executes: its class, its shapes and how it splits its heads.

        Of the config nothing else counts: labels and paths take no time.
        """
        shapes = {name: list(value.shape) for name, value in self._teacher.state_dict().items()}
        heads = [(block.heads, block.key_value_heads) for block in known_blocks(self._teacher)]
        facts = [type(self._teacher).__name__, activation_name(self._teacher), heads, shapes]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _shortened(self, sizes: Sizes) -> PreTrainedModel:
        depth = find_stack(self._teacher).depth
        if sizes.layers > depth:
            raise ConfigError(f"{WHERE}.layers={sizes.layers}: the teacher has only {depth} layers")
        module = copy.deepcopy(self._teacher)
        self.shorten_(module, sizes)
        return module

    def _check_lengths(self, module: PreTrainedModel) -> None:
        limit = position_count(module)
        longest = max(length for _, length in self._run.device.benchmark.shapes)
        if limit is not None and longest > limit:
            raise ConfigError(
                f"device.benchmark.shapes has length {longest}, {WHERE}.positions={limit} takes at "
                f"most {limit}"
            )
