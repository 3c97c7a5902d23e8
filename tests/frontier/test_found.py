"""What a search has found, in its folder."""

from __future__ import annotations

import threading
from pathlib import Path

from compress.frontier.found import alone


def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    entered, asked = threading.Event(), threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        asked.set()

    def second() -> None:
        with alone(tmp_path, report):
            entered.set()

    with alone(tmp_path, report):
        assert not lines
        waiting = threading.Thread(target=second)
        waiting.start()
        assert asked.wait(60)
        assert not entered.wait(0.2)
    waiting.join(60)
    assert entered.is_set()
    assert lines == [f"waiting for another process, which finds the finalists: {tmp_path}"]
