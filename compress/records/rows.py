"""The rows of a run, as its record has them."""

from __future__ import annotations

from dataclasses import dataclass

from compress.records.ranges import AtLeastOne, Count, Name, Share, Text


@dataclass(frozen=True)
class TransferText:
    """Texts without labels that students and recovery trainings learned from beside train.

    Attributes:
        source: where they came from, in words.
        read: texts of the source, drawn until there were enough.
        rows: texts that were kept.
        other_lengths: texts dropped for fewer or more words than asked.
        duplicates: texts dropped because they are in train, or were drawn before.
        leaks: texts dropped because a row of a held-out split is in them, by split.
        digest: identifies the texts that were kept.
    """

    source: Text
    read: AtLeastOne
    rows: AtLeastOne
    other_lengths: Count
    duplicates: Count
    leaks: dict[Name, Count]
    digest: Name


@dataclass(frozen=True)
class Data:
    """Where the rows came from, how many there are, and a digest that identifies them.

    Attributes:
        digest: of the labeled rows.
        truncated: share of the evaluation rows over the task's `max_length`; null for images.
        transfer: the texts without labels; null if there are none.
    """

    source: Text
    train: Count
    validation: Count
    evaluation: AtLeastOne
    digest: Name
    truncated: Share | None = None
    transfer: TransferText | None = None
