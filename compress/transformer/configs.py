"""A model's config on disk, including the default labels that transformers leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CONFIG = "config.json"


def reread(config: PretrainedConfig) -> PretrainedConfig:
    """A config after a round trip through config.json.

    Raises:
        ValueError: transformers would refuse to read it.
        StrictDataclassError: transformers would refuse to read it.
    """
    written = json.loads(config.to_json_string(use_diff=True))
    return type(config).from_dict({**written, **_labels(config)})


def write_labels(config: PretrainedConfig, folder: Path) -> None:
    """Adds the labels to the config that transformers wrote to a folder.

    transformers leaves out the default labels LABEL_0 and LABEL_1, even if the architecture has
    another default number of labels: such a BART would be read with three.
    """
    path = folder / CONFIG
    written = {**json.loads(path.read_bytes()), **_labels(config)}
    path.write_text(json.dumps(written, indent=2) + "\n")


def _labels(config: PretrainedConfig) -> dict[str, Any]:
    whole = config.to_dict()
    return {name: whole[name] for name in ("id2label", "label2id") if name in whole}
