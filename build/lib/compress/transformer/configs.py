"""A model's config on disk: what plain transformers would leave out is written all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CONFIG = "config.json"


def reread(config: PretrainedConfig) -> PretrainedConfig:
    """A config as it is read back from what is written of it.

    Raises:
        ValueError: it would be refused.
        StrictDataclassError: likewise.
    """
    written = json.loads(config.to_json_string(use_diff=True))
    return type(config).from_dict({**written, **_labels(config)})


def write_labels(config: PretrainedConfig, folder: Path) -> None:
    """Adds the labels to the config that transformers wrote into a folder.

    It leaves out labels that are called as in any new config, LABEL_0 and LABEL_1, even where the
    architecture's own default is another number of them: such a BART would be read with three.
    """
    path = folder / CONFIG
    written = {**json.loads(path.read_bytes()), **_labels(config)}
    path.write_text(json.dumps(written, indent=2) + "\n")


def _labels(config: PretrainedConfig) -> dict[str, Any]:
    whole = config.to_dict()
    return {name: whole[name] for name in ("id2label", "label2id") if name in whole}
