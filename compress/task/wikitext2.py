"""WikiText-2: good and featured articles of Wikipedia.

Merity, Xiong, Bradbury, Socher, "Pointer Sentinel Mixture Models", arXiv:1609.07843.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

from pydantic.dataclasses import dataclass

from compress.task.components.delimited import read_text
from compress.task.components.hub import TEXTS, check_revision, load_hub_dataset, source_words
from compress.task.components.language import ENCODING, JOIN, LanguageTask, Passage, check_file

HUB_ID, HUB_VERSION = "Salesforce/wikitext", "wikitext-2-raw-v1"
SPLITS = {"train": "train", "validation": "validation", "evaluation": "test"}  # published names
FILES = {"train": "train.txt", "validation": "valid.txt", "evaluation": "test.txt"}
TOKENISED = ("<unk>", " @-@ ")  # in the text as first published, not in the raw one


@final
@dataclass(frozen=True, kw_only=True)
class WikiText2(LanguageTask):
    """WikiText-2.

    Attributes:
        path: a folder with train.txt, valid.txt and test.txt; null for the hub's raw version.
        revision: branch, tag or commit of the hub's dataset; null for the newest.
    """

    path: str | None
    revision: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_revision(self.revision, self.path is None, "task.path=null")

    def check(self) -> None:
        """Raises a UserError if the folder lacks a file."""
        if self.path is not None:
            for name in FILES.values():
                check_file(Path(self.path) / name)

    def passages(self) -> tuple[Mapping[str, Passage], str]:
        """The published splits, with lines joined as in the reference implementations."""
        if self.path is None:
            published = load_hub_dataset(
                HUB_ID,
                HUB_VERSION,
                f"set task.path=<folder with {', '.join(FILES.values())}>",
                {split: {"text": TEXTS} for split in SPLITS.values()},
                self.revision,
            )
            texts = {role: JOIN.join(published[split]["text"]) for role, split in SPLITS.items()}
            source = source_words(HUB_ID, f"({HUB_VERSION})", published)
        else:
            files = {role: Path(self.path) / name for role, name in FILES.items()}
            texts = {role: joined_lines(read_text(path, ENCODING)) for role, path in files.items()}
            source = "a local folder"
            if any(mark in texts["evaluation"] for mark in TOKENISED):
                source += " (in words, as first published, with <unk> and @-@)"
        passages = {
            role: Passage(f"the published {SPLITS[role]} split", text)
            for role, text in texts.items()
        }
        return passages, f"WikiText-2 from {source}, lines joined by two line feeds"


def joined_lines(text: str) -> str:
    """Joins the lines of a file as the reference implementations join the hub's rows."""
    lines = text.removesuffix("\n").split("\n")
    return JOIN.join(f"{line}\n" if line.strip() else "" for line in lines)
