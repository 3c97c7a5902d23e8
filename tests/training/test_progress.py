from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from compress.training.progress import TrainingBar


def test_a_terminal_shows_steps_loss_and_time_and_then_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr("compress.training.progress.Console", lambda **_: console)
    bar = TrainingBar()
    for step in range(1, 5):
        bar.update(step, 8, None if step < 2 else 0.5)
    bar.close()
    shown = stream.getvalue()
    assert "4/8" in shown
    assert "loss 0.500" in shown
    assert shown.endswith("\x1b[2K"), "the line is cleared"
    bar.close()


def test_a_file_or_a_pipe_gets_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    bar = TrainingBar()
    bar.update(1, 2, 0.5)
    bar.close()
    assert capfd.readouterr() == ("", "")


def test_a_log_gets_a_line_each_half_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("compress.training.progress.time", clock)
    bar = TrainingBar()
    with caplog.at_level(logging.INFO):
        for step in range(1, 9):  # of 12 seconds each
            clock.now += 12.0
            bar.update(step, 8, None if step < 2 else 0.5)
    assert [record.message for record in caplog.records] == [
        "training: 3 of 8 steps, 60 s left, loss 0.500",
        "training: 6 of 8 steps, 24 s left, loss 0.500",
    ]
