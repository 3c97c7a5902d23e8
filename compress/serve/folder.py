"""What a model folder says of itself: history, checksums, how to run it, and its labels.

A folder must have exactly the files that its manifest lists: a loader could mistake another file
for the model. Only names that begin with a dot are ignored, which no loader reads: version control,
downloads and unfinished writes create such files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compress.config.errors import UserError, first_line
from compress.records.probabilities import Temperature
from compress.records.step import Step
from compress.serve.texts import TextSpec
from compress.system.digests import file_digest

SCHEMA = 3
MANIFEST = "manifest.json"
RUNTIME = "runtime.json"
CARD = "README.md"
CONFIG = "config.json"
PLAIN_WEIGHTS = "model.safetensors"
PACKED_WEIGHTS = "weights.safetensors"
TOLD = (MANIFEST, CARD)  # describe the model; not needed to run it
WEIGHTS = (".safetensors", ".onnx", ".xml")  # file types of a runtime's weights
TAGGERS, TAGS = "ForTokenClassification", "token_classification"
EMBEDDING = "sentence_embedding"
IN_FOLDERS = ("1_Pooling/config.json",)  # where sentence-transformers looks for it
COMPILE = "compile"  # torch's option to compile
ROUNDED = "activation_group"  # OpenVINO's option to round what Linear layers read


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        history: settings, expectations and notes of every stage.
        files: SHA-256 of each file in the folder except manifest and card.
        temperature: what a classifier's logits are divided by for its probabilities; null where it
            was not fitted.
    """

    schema: int
    history: tuple[Step, ...]
    files: dict[str, str]
    temperature: Temperature | None = None


@dataclass(frozen=True)
class StoredModuleSpec:
    """Kind and arguments of a stored module that replaces a plain one."""

    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """How to run a model folder: the content of `runtime.json`.

    Attributes:
        runtime: its kind.
        architecture: transformers class of the model.
        modules: the modules that replace plain ones, by name.
        options: the runtime's own settings.
        weights: the runtime's name of each weight, where it differs.
        texts: how texts are tokenized; null for other inputs, and for models between stages.
    """

    runtime: str
    architecture: str
    modules: dict[str, StoredModuleSpec] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    texts: TextSpec | None = None

    def option(self, name: str) -> Any:
        """An option that the runtime needs.

        Raises:
            UserError: there is none of this name.
        """
        if name not in self.options:
            raise UserError(f"{RUNTIME} is damaged: {self.runtime} needs options.{name}")
        return self.options[name]


@dataclass(frozen=True)
class OutputConfig:
    """What `config.json` says of a model's outputs."""

    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    eos_token_id: int | tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outputs:
    """What a model's logits stand for.

    Attributes:
        labels: the class of each logit.
        problem: as transformers names it in `problem_type`, "token_classification" or
            "sentence_embedding"; "" where it names none.
        temperature: what logits are divided by for probabilities.
        ends: tokens that end a generated text; () for the tokenizer's own.
    """

    labels: tuple[str, ...] = ()
    problem: str = ""
    temperature: float = 1.0
    ends: tuple[int, ...] = ()


def read_manifest(folder: str | Path) -> Manifest:
    """Reads the manifest of a model folder and verifies all files.

    Raises:
        UserError: the manifest is missing, has another schema or lists no model, or a file is
            missing, damaged or not listed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder} is not a compress model folder: it has no {MANIFEST}")
    try:
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {error.errors()[0]['msg']}") from error
    if manifest.schema != SCHEMA:
        raise UserError(f"{path} has schema {manifest.schema}, this version reads {SCHEMA}")
    _check_listed(path, manifest)
    for name, expected in manifest.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing")
        if file_digest(folder / name) != expected:
            raise UserError(f"{folder / name} is damaged: its SHA-256 is not the manifest's")
    surplus = {file_name(folder, path) for path in model_files(folder)} - set(manifest.files)
    if surplus:
        raise UserError(f"{folder / min(surplus)} is not in {MANIFEST}: it may be another model's")
    return manifest


def read_spec(folder: Path) -> RunSpec:
    """Reads `runtime.json` of a verified folder.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return TypeAdapter(RunSpec).validate_json((folder / RUNTIME).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{folder / RUNTIME} is damaged: {first_line(error)}") from error


def read_outputs(folder: Path, architecture: str, temperature: float | None) -> Outputs:
    """What the outputs of the model in a verified folder are, by its config and its class.

    Raises:
        UserError: the config is damaged.
    """
    try:
        config = TypeAdapter(OutputConfig).validate_json((folder / CONFIG).read_bytes())
    except ValidationError as error:
        raise UserError(f"{folder / CONFIG} is damaged: {error.errors()[0]['msg']}") from error
    names = config.id2label or {}
    labels = tuple(names[number] for number in sorted(names))
    if embeds(architecture):
        return Outputs(problem=EMBEDDING)
    tags = architecture.endswith(TAGGERS)
    problem = TAGS if tags else config.problem_type or ""
    ends = () if config.eos_token_id is None else config.eos_token_id
    ends = (ends,) if isinstance(ends, int) else ends
    return Outputs(labels, problem, temperature or 1.0, ends)


def embeds(architecture: str) -> bool:
    """Whether a model of this transformers class has embeddings of texts as its logits."""
    return architecture.endswith("Model") and not architecture.endswith("HeadModel")


def model_files(folder: Path) -> list[Path]:
    """Files of a model folder except manifest, card, and names that begin with a dot.

    A folder is one of them, unless it is of a file in `IN_FOLDERS`.
    """
    inner, found = inner_folders(folder), list[Path]()
    for path in folder.iterdir():
        found += path.iterdir() if path in inner else [path]
    return sorted(p for p in found if p.name not in TOLD and p.name[0] != ".")


def inner_folders(folder: Path) -> list[Path]:
    """The folders in a model folder that hold files of `IN_FOLDERS`, of those that there are."""
    found = sorted({folder / PurePath(name).parts[0] for name in IN_FOLDERS})
    return [path for path in found if path.is_dir()]


def file_name(folder: Path, path: Path) -> str:
    """What a manifest calls a file: its path from the folder, with slashes."""
    return path.relative_to(folder).as_posix()


def folder_bytes(folder: Path) -> int:
    """Total size in bytes of the files that are needed to run a model."""
    return sum(path.stat().st_size for path in model_files(folder))


def is_plain_path(name: str) -> bool:
    """Whether a name is that of a file that a model folder may have."""
    return is_plain_name(name) or name in IN_FOLDERS


def is_plain_name(name: str) -> bool:
    """Whether a name is a file name without a path."""
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)


def _check_listed(path: Path, manifest: Manifest) -> None:
    """Refuses a manifest that does not list one complete model."""
    names = set(manifest.files)
    for name in names:
        if not is_plain_path(name):
            raise UserError(f"{path} lists {name!r}, expected names of files beside it")
    lacking = sorted({CONFIG, RUNTIME} - names)
    weights = sorted(name for name in names if PurePath(name).suffix in WEIGHTS)
    if lacking or not weights:
        raise UserError(
            f"{path} does not list a complete model: {(*lacking, 'weights')[0]} is missing"
        )
    if {PLAIN_WEIGHTS, PACKED_WEIGHTS} <= names:
        raise UserError(f"{path} lists {PLAIN_WEIGHTS} and {PACKED_WEIGHTS}, expected one of them")
