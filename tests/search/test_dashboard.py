"""optuna-dashboard shows a search: asked for its pages without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from compress.search.run import run_search
from tests.search.engine import search_of


def test_it_shows_the_trials_and_their_constraints(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    run_search(search_of(tmp_path, budget=2, constraints={"accuracy": ">= 0.5"}, sampler="grid"))
    app = dashboard.wsgi(f"sqlite:///{tmp_path / 'trials' / 'study.db'}")
    [study] = ask(app, "/api/studies")["study_summaries"]
    assert study["study_name"] == "test"
    found = ask(app, f"/api/studies/{study['study_id']}")
    assert [trial["state"] for trial in found["trials"]] == ["Complete"] * 2
    assert found["objective_names"] == ["accuracy", "size_bytes"]
    assert [trial["params"][0]["name"] for trial in found["trials"]] == ["x"] * 2


def ask(app: Callable[..., Any], path: str) -> Any:
    environment: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environment)
    statuses = []
    body = b"".join(app(environment, lambda status, headers, *_: statuses.append(status)))
    assert statuses == ["200 OK"], body
    return json.loads(body)
