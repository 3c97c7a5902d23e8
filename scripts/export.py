"""Copies a run's model into a folder, or to the hub: `scripts/export.py RUN TARGET`.

`python scripts/export.py RUN --push owner/name` makes a new private repository of it,
`python scripts/export.py RUN model.gguf --gguf Q8_0` a file for llama.cpp of a language model.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.config.ending import Parser, one_line_ending
from compress.config.errors import UserError, first_line
from compress.records.schema import FILE, FinishedRun, read_record
from compress.serve.folder import CARD, MANIFEST, folder_bytes, read_manifest
from compress.store.card_front import with_fields
from compress.store.run_folder import empty_folder
from compress.system.files import scratch_folder

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def export(run: Path, target: Path, fields: Mapping[str, Any] | None = None) -> Path:
    """Copies the model of a finished run, every file verified; returns the new folder.

    Args:
        run: its folder.
        target: the new folder.
        fields: for the front matter of the card, such as its license.

    Raises:
        UserError: the run did not succeed, a file is damaged, or the target is not empty.
    """
    source = _model_of(run)
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target} lies inside {source}, the folder to copy")
    names = [*read_manifest(source).files, MANIFEST]
    if fields and not (source / CARD).is_file():
        raise UserError(f"{source} has no {CARD} that could say {', '.join(fields)}")
    empty_folder(target, target.parent)
    for name in (*names, CARD) if (source / CARD).is_file() else names:
        shutil.copyfile(source / name, target / name)
    if fields:
        card = (source / CARD).read_text(encoding="utf-8")
        (target / CARD).write_text(with_fields(card, fields), encoding="utf-8")
    read_manifest(target)
    return target


def export_gguf(run: Path, target: Path, kind: str) -> Path:
    """Writes the model of a finished run as a GGUF file; returns its path.

    Raises:
        UserError: see `export` and `compress.store.gguf_file.write_gguf`.
    """
    from compress.store.gguf_file import TYPES, write_gguf

    if kind not in TYPES:
        raise UserError(f"--gguf must be one of {', '.join(TYPES)}, got {kind}")
    source = _model_of(run)
    read_manifest(source)
    return write_gguf(source, target, kind)


def push(run: Path, name: str, fields: Mapping[str, Any], *, public: bool, update: bool) -> str:
    """Uploads the model of a finished run to the hub; returns its address there.

    Args:
        run: its folder.
        name: of the repository: owner/name.
        fields: for the front matter of the card.
        public: whether everybody may read a new repository.
        update: whether the repository exists: files of the same names are replaced by a commit.

    Raises:
        UserError: there is nothing to upload, or the hub refuses; its reason is in the message.
    """
    import huggingface_hub

    with scratch_folder() as scratch:
        folder = export(run, scratch / "model", fields)
        api = huggingface_hub.HfApi()
        try:
            if update:
                api.repo_info(name)
            else:
                api.create_repo(name, private=not public)
            found = api.upload_folder(
                repo_id=name, folder_path=folder, commit_message="Upload a compressed model"
            )
        except Exception as error:
            # The library has a dozen kinds of error, and its HTTP library has its own.
            where = huggingface_hub.constants.ENDPOINT
            raise UserError(f"{name} was not uploaded to {where}: {first_line(error)}") from error
    return str(found.repo_url)


def _model_of(run: Path) -> Path:
    """The model folder of a finished run.

    Raises:
        UserError: the run did not succeed, or has several.
    """
    record = read_record(run / FILE) if (run / FILE).is_file() else None
    if isinstance(record, FinishedRun) and record.folds is not None:
        named = ", ".join(record.folds.folders)
        raise UserError(f"{run} has a model for each fold; export one of its folders {named}")
    if not isinstance(record, FinishedRun) or record.model is None:
        raise UserError(f"{run} is not a successful run; expected {FILE} and a model in it")
    return run / record.model


@one_line_ending()
def main() -> None:
    """Exports one run."""
    arguments = _parser().parse_args()
    said = {"license": arguments.license, "language": arguments.language}
    fields = {key: value for key, value in said.items() if value is not None}
    name = arguments.push
    if (arguments.target is None) == (name is None):
        raise UserError("expected a target folder, or --push OWNER/NAME; see --help")
    if name is not None and not REPOSITORY.fullmatch(name):
        raise UserError(f"--push must be owner/name, got {name}")
    if name is None and (arguments.public or arguments.update):
        raise UserError("--public and --update are of --push OWNER/NAME; see --help")
    if arguments.public and arguments.update:
        raise UserError("--public is of a new repository, --update of one that exists")
    if arguments.gguf is not None:
        if name is not None or fields:
            raise UserError("--gguf writes a file, to a target alone; see --help")
        file = export_gguf(arguments.run, arguments.target, arguments.gguf)
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")  # noqa: T201
    elif name is None:
        folder = export(arguments.run, arguments.target, fields)
        print(f"{folder}: {folder_bytes(folder) / 1e6:.1f} MB to run, and a model card")  # noqa: T201
    else:
        address = push(
            arguments.run, name, fields, public=arguments.public, update=arguments.update
        )
        print(address)  # noqa: T201


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, with metrics.json and model/")
    parser.add_argument("target", type=Path, nargs="?", help="a new folder")
    parser.add_argument("--push", metavar="OWNER/NAME", help="a new repository on the hub")
    parser.add_argument("--public", action="store_true", help="with --push: for everybody")
    parser.add_argument("--update", action="store_true", help="with --push: one that exists")
    parser.add_argument("--license", metavar="ID", help="for the card, such as apache-2.0")
    parser.add_argument(
        "--language", action="append", metavar="CODE", help="for the card, such as en; repeatable"
    )
    parser.add_argument(
        "--gguf", metavar="TYPE", help="the target is a GGUF file for llama.cpp: F16, Q8_0, Q4_0, …"
    )
    return parser


if __name__ == "__main__":
    main()
