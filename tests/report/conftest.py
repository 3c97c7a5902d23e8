"""Shared by the tests of reports."""

from __future__ import annotations

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take most of a report's time, and are empty here."""
    monkeypatch.setattr("compress.report.write.plot_pareto", lambda _, path: path.write_bytes(b""))
