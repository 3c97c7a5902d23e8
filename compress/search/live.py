"""Progress of a search on the terminal: one line per worker, and one per finished trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from compress.records.metrics import METRICS
from compress.search.front import Front
from compress.search.space import overrides_of
from compress.search.trials import TakenTrial
from compress.search.worker_pool import Worker
from compress.system.terminal import plain

REFRESH_SECONDS = 0.5
LOG_SECONDS = 30.0


@dataclass
class LiveScreen:
    """Live progress lines; without a terminal, they are printed each half minute."""

    console: Console
    front: Front
    _live: Live | None = None
    _drawn: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)
    _done: int = 0
    _summary_text: str = ""

    def __enter__(self) -> LiveScreen:
        """Starts the live display."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the live display; printed results stay."""
        if self._live is not None:
            self._live.stop()

    def update(self, workers: Sequence[Worker]) -> None:
        """Redraws the lines, at most once per `REFRESH_SECONDS`; in a log, `LOG_SECONDS`."""
        now = time.monotonic()
        if now - self._drawn < (LOG_SECONDS if self._live is None else REFRESH_SECONDS):
            return
        self._drawn = now
        lines = [Text(worker_line(worker)) for worker in workers]
        if self._live is None:
            self.console.print(*lines, sep="\n", soft_wrap=True)
            return
        self._live.update(Group(*lines, Text(self._summary())), refresh=True)

    def print_result(self, taken: TakenTrial, words: str) -> None:
        """Prints a trial's result."""
        self._done += 1
        self._summary_text = ""
        if self._live is None:
            self._drawn = time.monotonic()
        point = " ".join(overrides_of(taken.point))
        line = f"[bold]{taken.number}[/] {plain(point)}: {plain(words)}"
        self.console.print(line, soft_wrap=True)

    def _summary(self) -> str:
        """Trial counts, front and time left; read from the study once after each result."""
        if not self._summary_text:
            budget = self.front.trial_store.budget
            counts = self.front.trial_store.trial_counts()
            self._summary_text = (
                f"{counts.finished} of {budget} trials: {counts.complete} finished, "
                f"{counts.infeasible} infeasible, {counts.failed} failed{best_words(self.front)}"
            )
            left = budget - counts.finished
            if self._done and left > 0:
                minutes = (time.monotonic() - self._began) / self._done * left / 60
                self._summary_text += f"; about {minutes:.0f} min left"
        return self._summary_text


def best_words(front: Front) -> str:
    """The best figure of each objective among the feasible trials; "" before there is one."""
    goals, found = front.goals, front.feasible()
    if not found:
        return ""
    words = []
    for name, direction in goals.objectives.items():
        figures = [METRICS[name].read(goals.on_split(each.record)) for each in found]
        best = max(figures) if direction == "maximize" else min(figures)
        words.append(f"{name} {best:.4g}")
    return f"; best so far: {', '.join(words)}"


def worker_line(worker: Worker) -> str:
    """Status line of a worker, such as "1: trial 7, student, step 120 of 428"."""
    if worker.taken is None:
        return f"{worker.place}: {'idle' if worker.ready else 'starting'}"
    words = f"{worker.place}: trial {worker.taken.number}, {worker.stage}"
    if worker.step is not None:
        words += f", step {worker.step[0]} of {worker.step[1]}"
    if worker.paused:
        words += " (paused while another worker measures)"
    elif worker.waits_to_measure:
        words += " (waiting to measure)"
    return f"{words}, {worker.seconds:.0f} s"
