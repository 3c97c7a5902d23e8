"""Text from configs and data, in Markdown."""

from __future__ import annotations

from compress.config.legible import visible


def plain_text(words: str) -> str:
    """Words as one line of Markdown that is neither markup nor HTML."""
    line = visible(" ".join(words.split()))
    for sign in "\\`*_[]|#~$":  # dollars are math where Markdown is GitHub's
        line = line.replace(sign, f"\\{sign}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
