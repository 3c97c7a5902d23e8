"""Splits texts into sentences by rule: at sentence-final punctuation before a new beginning."""

from __future__ import annotations

import re

BREAK = re.compile(r"(?:\s*<br\s*/?>\s*)+|\n+")  # of a line, as in reviews from the web
END = re.compile(r"(?:[.!?…]+[\"'’”)\]*]*)(?=\s+[\"'‘“(\[*]*[A-Z0-9])")
# Whose full stop ends no sentence: titles, and single letters as in "Samuel L. Jackson".
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|Lt|Col|Gen|[A-Z]))\.$")


def sentences(text: str) -> list[str]:
    """The sentences of a text, in its order; breaks of lines end one too."""
    found = []
    for line in BREAK.split(text):
        begin = 0
        for end in END.finditer(line):
            if not ABBREVIATION.search(line, begin, end.end()):
                found.append(line[begin : end.end()])
                begin = end.end()
        found.append(line[begin:])
    return [words for each in found if (words := " ".join(each.split()))]
