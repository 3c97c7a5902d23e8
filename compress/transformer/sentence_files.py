"""The files by which sentence-transformers knows how a folder's model embeds texts.

`modules.json` lists the modules of a model; each has its settings in a folder of its own. Read are
Transformer, Pooling and Normalize, and all other kinds are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.errors import UserError, first_line
from compress.core.problem import POOLING
from compress.serve.folder import IN_FOLDERS
from compress.transformer.embedder import NORMALIZED, POOLINGS, pooling

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MODULES = "modules.json"
LENGTHS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
KEPT = ("prompts", "default_prompt_name", "similarity_fn_name")  # of its settings
OF_CONFIG = "sentence_settings"  # where a model's config keeps them
LOWER = "do_lower_case"
[POOLING_PATH] = IN_FOLDERS
POOLING_FOLDER, POOLING_FILE = POOLING_PATH.split("/")
LIBRARY = "sentence_transformers.models."
TRANSFORMER, POOL, NORMALIZE = "Transformer", "Pooling", "Normalize"
FLAGS = {  # of older files, in the order in which vectors are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read_pooling_(folder: Path, config: PreTrainedConfig) -> None:
    """Sets pooling and normalization in a config, as a folder's `modules.json` has them.

    A folder without one keeps what its config says, or else has the mean, not normalized, as in
    sentence-transformers. Its prompts are kept for that library, and nothing here adds them.

    Raises:
        UserError: a file is damaged, or the model has modules of another kind, or changes the case
            of texts beside its tokenizer.
    """
    if (folder / PROMPTS).is_file():
        known = _read(folder / PROMPTS, dict)
        setattr(config, OF_CONFIG, {name: known[name] for name in KEPT if known.get(name)})
    if (folder / LENGTHS).is_file() and _read(folder / LENGTHS, dict).get(LOWER):
        raise UserError(
            f"{folder / LENGTHS} has {LOWER}: true, which is not supported; let the tokenizer do it"
        )
    if not (folder / MODULES).is_file():
        setattr(config, POOLING, list(pooling(config)))
        setattr(config, NORMALIZED, bool(getattr(config, NORMALIZED, False)))
        return
    kinds: dict[str, str] = {}
    for module in _read(folder / MODULES, list):
        if not (isinstance(module, dict) and {"type", "path"} <= module.keys()):
            raise UserError(f"{folder / MODULES} is damaged: {module!r} has no type or no path")
        kinds[str(module["type"]).rpartition(".")[2]] = str(module["path"])
    if list(kinds) not in ([TRANSFORMER, POOL], [TRANSFORMER, POOL, NORMALIZE]):
        raise UserError(
            f"{folder / MODULES} has the modules {', '.join(kinds)}; supported: {TRANSFORMER}, "
            f"{POOL} and then {NORMALIZE} or nothing"
        )
    settings = _read(folder / kinds[POOL] / POOLING_FILE, dict)
    setattr(config, POOLING, list(_modes(folder / kinds[POOL] / POOLING_FILE, settings)))
    setattr(config, NORMALIZED, NORMALIZE in kinds)


def write_sentence_files(folder: Path, config: PreTrainedConfig, max_length: int | None) -> None:
    """Writes the files for an embedder's config; texts have at most `max_length` tokens."""
    kinds = [TRANSFORMER, POOL, *([NORMALIZE] if getattr(config, NORMALIZED, False) else [])]
    paths = {TRANSFORMER: "", POOL: POOLING_FOLDER, NORMALIZE: "2_Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": paths[kind], "type": LIBRARY + kind}
        for place, kind in enumerate(kinds)
    ]
    modes, size = pooling(config), config.hidden_size
    flags = {flag: mode in modes for flag, mode in FLAGS.items()}
    written: dict[str, Any] = {
        MODULES: modules,
        POOLING_PATH: {"word_embedding_dimension": size, **flags},
        LENGTHS: {"max_seq_length": max_length, LOWER: False},
        PROMPTS: getattr(config, OF_CONFIG, {}),
    }
    (folder / POOLING_FOLDER).mkdir()
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _modes(path: Path, settings: dict[str, Any]) -> tuple[str, ...]:
    found = settings.get("pooling_mode")
    if found is None:
        found = [mode for flag, mode in FLAGS.items() if settings.get(flag)] or ["mean"]
    modes = (found,) if isinstance(found, str) else tuple(found)
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown:
        raise UserError(f"{path} has the pooling {unknown[0]!r}; allowed: {', '.join(POOLINGS)}")
    return modes


def _read(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(found, kind):
        raise UserError(f"{path} is damaged: expected a {kind.__name__}, got {found!r}")
    return found
