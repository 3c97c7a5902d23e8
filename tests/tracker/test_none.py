from __future__ import annotations

from pathlib import Path

from compress.core.monitor import UNWATCHED
from compress.tracker.none import NoTracker
from tests.records.test_schema import make_record


def test_it_takes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    tracker = NoTracker()
    tracker.check()
    with tracker.watching(tmp_path, UNWATCHED):
        tracker.log(make_record(), tmp_path, tmp_path)
    tracker.log_report(tmp_path)
    assert not list(tmp_path.iterdir())
