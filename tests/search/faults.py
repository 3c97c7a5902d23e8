"""Jobs for searches in tests: no model, but records, and every way to go wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from compress.config.blame import blame
from compress.config.errors import UserError
from compress.core.monitor import UNWATCHED, Forecast, Monitor
from compress.job import blank_record, recorded
from compress.records.schema import FinishedRun, RunStart
from tests.search.records import record_of

MEMORY = 2**28


class Silent(Exception):
    """Ends a run that leaves no record."""


def job(cfg: DictConfig, monitor: Monitor = UNWATCHED) -> None:
    """Does what `cfg.fault` says; else leaves a record with figures made of `cfg.x`."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    blank = blank_record(cfg, {}, tuple(HydraConfig.get().overrides.task))

    def work(start: RunStart) -> FinishedRun:
        monitor.forecast(lambda: Forecast(parameters=int(100 * cfg.x), least_bytes=10))
        monitor.stage("student")
        monitor.step(1, 2)
        monitor.look(1, 2, lambda: {"accuracy": cfg.x})
        time.sleep(cfg.seconds)
        _break(str(cfg.fault), folder)
        monitor.stage("pruner")
        with monitor.quiet():
            (folder / "quiet").write_text(f"{time.time()} ")
            time.sleep(cfg.seconds)
            with (folder / "quiet").open("a") as file:
                file.write(f"{time.time()}")
        made = record_of(accuracy=cfg.x, validation=cfg.x, size=int(50 + 50 * cfg.x))
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text(str(cfg.x))
        manifest = {"schema": 1, "history": [], "files": {"weights": "its digest"}}
        (folder / "model" / "manifest.json").write_text(json.dumps(manifest))
        return replace(made, overrides=start.overrides, model="model", config=start.config)

    _, error = recorded(blank, folder, work)
    if isinstance(error, Silent):
        (folder / "metrics.json").unlink()
    elif error is not None and not isinstance(error, Exception):
        raise error


def _break(fault: str, folder: Path) -> None:
    match fault:
        case "exception":
            raise ValueError("broken on purpose")
        case "data":
            with blame("task"):
                raise UserError("there are no rows")
        case "own":
            with blame("x", "task"):
                raise UserError("no rows for this x")
        case "silent":
            raise Silent
        case "exit":
            sys.exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            bytearray(2 * MEMORY)
        case "hang":
            time.sleep(1000)
        case "child":
            # A trial's own process, which must not outlive it.
            pid = os.fork()
            if not pid:
                time.sleep(1000)
            (folder.parent / "child").write_text(str(pid))
            os.kill(os.getpid(), signal.SIGKILL)
