"""Pages of scripts never take the place of what is something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.report.written import check_page


def test_a_page_may_be_new_or_written_again(tmp_path: Path) -> None:
    check_page(tmp_path / "new.md", "# Title")
    (tmp_path / "old.md").write_text("# Title\n\nold")
    check_page(tmp_path / "old.md", "# Title")


def test_what_is_no_such_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    for path, words in (
        ("metrics.json", "exists and is not such a page"),
        ("folder", "is a directory"),
        ("nowhere/a.md", "is not a directory"),
    ):
        with pytest.raises(UserError, match=words):
            check_page(tmp_path / path, "# Title")
