"""Some fifty tiny architectures with real tokenizers, their weights drawn from a seed.

Each is 32 wide with 4 layers and outputs that vary from row to row, so that a part left out or put
in the wrong place shows in its logits. Folders are written by plain transformers.
"""

from __future__ import annotations

import csv
import inspect
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from tests.sizes import ARCHITECTURES, T5, Architecture
from tests.vocabularies import WORDS, make_tokenizer

CLASSES, DIGITS = ("neg", "pos"), tuple("0123456789")
TAGS = ("O", "B-thing", "I-thing")
GAIN = 1.3  # of a random matrix: what goes through four layers neither dies nor explodes
SPREAD = 0.2  # of what is not a matrix, around the value that the architecture starts it at


def build(name: str, folder: Path, seed: int = 0, **changed: Any) -> Path:
    """Writes a model, and its tokenizer or image processor, as plain transformers does.

    Args:
        name: one of `ARCHITECTURES`.
        folder: where to.
        seed: of the weights.
        changed: settings of the config that differ.
    """
    spec = ARCHITECTURES[name]
    classes = DIGITS if spec.sees else TAGS if spec.tags else CLASSES
    numbers = {label: number for number, label in enumerate(classes)}
    names = {"id2label": dict(enumerate(classes)), "label2id": numbers}
    if spec.sees:
        processor: Any = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
        tokens = {}
    else:
        processor = make_tokenizer(
            spec.pieces, spec.ends, inputs=spec.inputs, pads=spec.pads, side=spec.side
        )
        tokens = _tokens(processor, spec.start)
        # The class that transformers reads it as may add tokens of its own, as Qwen2's does.
        tokens["vocab_size"] = len(_read_again(processor, spec.kind, folder))
    config = transformers.AutoConfig.for_model(
        spec.kind, **names, **tokens, **{**spec.sizes, **changed}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = class_of(config, spec)(config)
    lively_(module.float().eval(), seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def lively_(module: nn.Module, seed: int) -> nn.Module:
    """Draws weights with which the outputs vary clearly; shared ones stay shared."""
    generator = torch.Generator().manual_seed(seed)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if id(parameter) in tables:
            parameter.copy_(0.6 * drawn)
        elif parameter.dim() >= 2:
            fan = parameter[0].numel() if parameter.dim() == 4 else parameter.shape[-1]
            parameter.copy_(drawn * GAIN / math.sqrt(fan))
            # T5 divides by no root of the head size, and has smaller queries for it.
            if name.endswith("Attention.q.weight"):
                parameter.div_(math.sqrt(T5["d_kv"]))
        else:
            parameter.add_(SPREAD * drawn)
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(SPREAD * torch.rand(buffer.shape, generator=generator))
    return module


def sentences(count: int, seed: int) -> Iterator[str]:
    """So many different texts of 2 to 14 words."""
    drawn = random.Random(seed)
    for number in range(count):
        words = [drawn.choice(WORDS) for _ in range(drawn.randint(2, 14))]
        yield " ".join([*words, f"{seed}{number}"])


def write_tables(folder: Path, counts: Mapping[str, int]) -> dict[str, Path]:
    """Writes `<role>.csv` with so many rows of both classes for every role.

    Returns:
        The file of each role.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {role: folder / f"{role}.csv" for role in counts}
    for seed, (role, count) in enumerate(counts.items(), start=1):
        rows = [(text, CLASSES[i % 2]) for i, text in enumerate(sentences(count, seed))]
        _write(paths[role], rows)
    return paths


def table_texts(table: Path) -> list[str]:
    """The texts of a file that `write_tables` wrote."""
    with table.open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def write_tags(folder: Path, tables: Mapping[str, Path]) -> dict[str, Path]:
    """Writes `<role>.conll` with the words of each table's texts, some of them tagged.

    Returns:
        The file of each role.
    """
    paths = {role: folder / f"{role}.conll" for role in tables}
    for role, path in paths.items():
        texts = [text.split(" ") for text in table_texts(tables[role])]
        rows = ["\n".join(f"{w}\t{TAGS[i % 3]}" for i, w in enumerate(words)) for words in texts]
        path.write_text("\n\n".join(rows), encoding="utf-8")
    return paths


def write_pairs(folder: Path, tables: Mapping[str, Path]) -> dict[str, Path]:
    """Writes `<role>.jsonl` with each text of a table, the next one, and a number from 0 to 5.

    Returns:
        The file of each role.
    """
    paths = {role: folder / f"{role}.jsonl" for role in tables}
    for role, path in paths.items():
        texts = table_texts(tables[role])
        pairs = zip(texts, [*texts[1:], texts[0]], strict=True)
        rows = [
            {"sentence1": one, "sentence2": two, "score": number % 6}
            for number, (one, two) in enumerate(pairs)
        ]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return paths


def _write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _read_again(tokenizer: Any, kind: str, folder: Path) -> Any:
    """A tokenizer as it is read beside a model of this kind."""
    tokenizer.save_pretrained(folder)
    transformers.AutoConfig.for_model(kind).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def class_of(config: Any, spec: Architecture | None = None) -> Any:
    """The class of an architecture, of DeiT's two the one without a distillation token.

    Args:
        config: of the architecture.
        spec: says what it does; None for a classifier.
    """
    if spec is not None and spec.embeds:
        return body_of(type(config))
    if spec is not None and spec.tags:
        return transformers.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING[type(config)]
    if spec is not None and spec.writes:
        return transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    mapping = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        mapping = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    found = mapping[type(config)]
    return found[0] if isinstance(found, (list, tuple)) else found


def body_of(config: type) -> Any:
    """What makes an architecture without any head, not even one for the first token."""
    body = transformers.MODEL_MAPPING[config]
    takes = inspect.signature(body.__init__).parameters
    return partial(body, add_pooling_layer=False) if "add_pooling_layer" in takes else body


def _tokens(tokenizer: Any, start: str) -> dict[str, Any]:
    """Settings of a tokenizer in a config."""
    named = ("pad_token_id", "bos_token_id", "eos_token_id")
    ids = {name: getattr(tokenizer, name) for name in named}
    if start:
        ids["decoder_start_token_id"] = getattr(tokenizer, f"{start}_token_id")
    return ids
