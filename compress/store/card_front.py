"""Front matter of a model card, which the hub reads: huggingface.co/docs/hub/model-cards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.records.recipe import STAGES, recipe
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of
from compress.serve.folder import embeds

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

# The hub's names of what loads a model, and of what it is for by the end of its class's name.
LIBRARIES = {"onnxruntime": "onnx", "openvino": "openvino"}
PIPELINES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "Model": "sentence-similarity",
}
SENTENCES = "sentence-transformers"


# How the source of rows names a dataset of the hub: id, configuration, commit.
FROM_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?: [\w.()-]+)? at [0-9a-f]{40}")


def front_matter(record: FinishedRun, architecture: str, *, plain: bool) -> str:
    """Library, pipeline, base model and results, between lines of dashes.

    Args:
        record: of the run that made the model.
        architecture: transformers class of the model.
        plain: whether transformers' own `from_pretrained` reads it.
    """
    from huggingface_hub import EvalResult, ModelCardData

    score, pipeline = record.metrics.score, _pipeline(architecture)
    result = EvalResult(
        task_type=pipeline or "other",
        dataset_type=record.choices["task"],
        dataset_name=record.choices["task"],
        dataset_split=score.split,
        metric_type=score.metric,
        metric_name=kind_of(score).words,
        metric_value=score.value,
    )
    runtime = record.metrics.runtime
    library = SENTENCES if embeds(architecture) else "transformers"
    data = ModelCardData(
        library_name=library if plain else LIBRARIES.get(runtime, "compress"),
        pipeline_tag=pipeline,
        base_model=_base_model(record),
        datasets=_datasets(record),
        metrics=[score.metric],
        tags=_tags(record),
        model_name=recipe(record),
        eval_results=[result],
    )
    return "\n".join(["---", *_lines(_fields(data)), "---"])


def with_fields(card: str, fields: Mapping[str, Any]) -> str:
    """A model card with more fields in its front matter, such as `license`."""
    end = card.index("\n---\n", 1)
    return "\n".join([card[:end], *_lines(fields)]) + card[end:]


def _lines(fields: Mapping[str, Any]) -> list[str]:
    """JSON values are valid YAML values, and nothing in them is markup."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items()]
    return [line.replace("<", "\\u003c") for line in lines]


def _fields(data: ModelCardData) -> dict[str, Any]:
    found: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    return found


def _pipeline(architecture: str) -> str | None:
    found = (name for end, name in PIPELINES.items() if architecture.endswith(end))
    return next(found, None)


def _base_model(record: FinishedRun) -> str | None:
    """The teacher's id on the hub; null of a folder of this machine."""
    path: Any = record.settings("teacher").get("path")
    is_id = isinstance(path, str) and path and not path.startswith((".", "/", "~"))
    return path if is_id else None


def _datasets(record: FinishedRun) -> list[str] | None:
    """The ids of datasets on the hub that rows were read from; null if there are none."""
    return list(dict.fromkeys(FROM_HUB.findall(record.data.source))) or None


def _tags(record: FinishedRun) -> list[str]:
    chosen = {group: record.choices.get(group, "none") for group in ("task", "teacher", *STAGES)}
    return ["compress", *(f"{group}:{name}" for group, name in chosen.items() if name != "none")]
