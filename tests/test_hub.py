"""Models and rows from a hub, which here is a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from compress.records.schema import FILE, FinishedRun, read_record, write_record
from tests.checkpoints import save_checkpoint
from tests.configs import ROOT, TINY
from tests.hub_server import Hub, Repository, commit_of, hub_on_loopback

TOKEN = "hf_nobodyshallreadthis"
MODEL, GLUE, OWN = "org/tiny-bert", "nyu-mll/glue", "org/reviews"
SMALL = ("task.limit=40", "task.max_length=16", *(word for word in TINY if "teacher=" not in word))
TEACHER = ("teacher=local", f"teacher.path={MODEL}", "teacher.finetune.epochs=1")


def table(count: int, names: tuple[str, str], first: int = 0) -> pd.DataFrame:
    words = [("a sad dull film", 0), ("a glad bright film", 1)]
    rows = [(f"{words[i % 2][0]} number {i + first}", words[i % 2][1], i) for i in range(count)]
    return pd.DataFrame(rows, columns=[*names, "idx"])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Repository]:
    """A BERT in two revisions, SST-2 in GLUE's layout, and a dataset whose classes have names."""
    folder = tmp_path_factory.mktemp("hub")
    for name, layers in (("old", 1), ("new", 2)):
        save_checkpoint(folder / name, "bert", num_hidden_layers=layers)
    glue, own = folder / "glue", folder / "own"
    for split, count, first in (("train", 120, 0), ("validation", 40, 500)):
        (glue / "sst2").mkdir(parents=True, exist_ok=True)
        frame = table(count, ("sentence", "label"), first)
        frame.to_parquet(glue / "sst2" / f"{split}-00000-of-00001.parquet")
    paths = [{"split": s, "path": f"sst2/{s}-*"} for s in ("train", "validation")]
    write_card(glue, {"configs": [{"config_name": "sst2", "data_files": paths}]})
    own.mkdir()
    for split, count, first in (("train", 120, 0), ("test", 40, 500)):
        table(count, ("review", "mood"), first).to_json(
            own / f"{split}.jsonl", orient="records", lines=True
        )
    mood = {"class_label": {"names": {"0": "sad", "1": "glad"}}}
    features = [
        {"name": "review", "dtype": "string"},
        {"name": "mood", "dtype": mood},
        {"name": "idx", "dtype": "int64"},
    ]
    write_card(own, {"dataset_info": {"features": features}})
    return {
        ("models", MODEL): Repository({"main": folder / "new", "v1": folder / "old"}),
        ("datasets", GLUE): Repository({"main": glue}),
        ("datasets", OWN): Repository({"main": own}),
    }


def write_card(folder: Path, content: dict[str, object]) -> None:
    """A dataset's card; JSON is YAML."""
    (folder / "README.md").write_text(f"---\n{json.dumps(content)}\n---\n")


@pytest.fixture
def hub(published: dict[tuple[str, str], Repository], tmp_path: Path) -> Iterator[Hub]:
    with hub_on_loopback(published, tmp_path) as running:
        yield running


def environment(hub: Hub, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": TOKEN}
    ours |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return {**kept, **ours}


def run(
    hub: Hub, folder: Path, *overrides: str, into: str = "run"
) -> subprocess.CompletedProcess[str]:
    """`python run.py` in a process of its own: libraries read the address once."""
    return subprocess.run(
        [
            sys.executable, str(ROOT / "run.py"), *SMALL, *overrides,
            f"cache.dir={folder / 'cache'}", f"hydra.run.dir={folder / into}",
        ],
        cwd=folder, env=environment(hub, folder), capture_output=True, text=True, check=False,
    )  # fmt: skip


def record_of(folder: Path) -> FinishedRun:
    record = read_record(folder / "run" / FILE)
    assert isinstance(record, FinishedRun)
    return record


def test_a_bert_and_sst2_come_from_the_hub(
    hub: Hub, published: dict[tuple[str, str], Repository], tmp_path: Path
) -> None:
    ended = run(hub, tmp_path, *TEACHER, "task=sst2", "quantizer=int8_dynamic")
    assert ended.returncode == 0, ended.stderr
    record = record_of(tmp_path)
    commits = {key: commit_of(repo.revisions["main"]) for key, repo in published.items()}
    assert record.data.source.startswith(f"SST-2 from {GLUE} at {commits['datasets', GLUE]};")
    assert record.history[0]["notes"]["commit"] == commits["models", MODEL]
    assert record.metrics.score.samples == 40
    assert hub.tokens >= {f"Bearer {TOKEN}"}, "a private model would need it"
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    # What is in the local cache is read without the hub.
    asked = len(hub.asked)
    again = run(hub, tmp_path, *TEACHER, "task=sst2", into="again")
    assert again.returncode == 0, again.stderr
    assert not any(MODEL in path for path in hub.asked[asked:])


def test_any_dataset_is_a_task_and_a_revision_is_what_was_asked_for(
    hub: Hub, published: dict[tuple[str, str], Repository], tmp_path: Path
) -> None:
    task = (
        "task=hub", f"task.path={OWN}", "task.text=review", "task.label=mood",
        "task.split.evaluation=test",
    )  # fmt: skip
    ended = run(hub, tmp_path, *TEACHER, "teacher.revision=v1", *task)
    assert ended.returncode == 0, ended.stderr
    record = record_of(tmp_path)
    old = published["models", MODEL].revisions["v1"]
    assert record.history[0]["notes"]["commit"] == commit_of(old)
    commit = commit_of(published["datasets", OWN].revisions["main"])
    assert f"the published train split ({OWN} at {commit}; 120 rows)" in record.data.source
    assert record.metrics.score.samples == 40
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert set(config["id2label"].values()) == {"sad", "glad"}
    # A folder's words and what a user typed are in the reason.
    wrong = run(hub, tmp_path, *TEACHER, *task, "task.label=modd", into="wrong")
    assert wrong.returncode == 1
    assert f"{OWN}, split train: column 'modd' is not among its columns" in wrong.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((*TEACHER, "teacher.revision=v9", "task=sst2"), f"model {MODEL} not found: "),
        ((*TEACHER, "task=sst2", "task.revision=v9"), f"dataset {GLUE}: "),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (("teacher=local", "teacher.path=org/none", "task=sst2"), "org/none not found: "),
                ((*TEACHER, "task=hub", "task.path=org/nothing"), "dataset org/nothing: "),
                (
                    (*TEACHER, "task=hub", f"task.path={OWN}", "task.split.train=dev"),
                    f"dataset {OWN} has no split dev, got ",
                ),
            )
        ),
    ],
)
def test_what_the_hub_does_not_have_is_said_in_one_line(
    hub: Hub, overrides: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = run(hub, tmp_path, *overrides)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert TOKEN not in ended.stderr


def test_a_model_is_pushed_to_a_new_private_repository(
    hub: Hub, run_config: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    write_record(run_config("pruner=magnitude", folder=tmp_path / "run"), tmp_path / "run")

    def push(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "scripts/export.py", str(tmp_path / "run"), *options],
            cwd=ROOT, env=environment(hub, tmp_path), capture_output=True, text=True, check=False,
        )  # fmt: skip

    pushed = push("--push", "me/small")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.strip() == f"{hub.url}/me/small"
    assert hub.private == {"me/small": True}
    [folder] = [path for path in tmp_path.glob("tmp*")]
    ours = {path.name: path.read_bytes() for path in (tmp_path / "run" / "model").iterdir()}
    theirs = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert theirs == ours
    again = push("--push", "me/small")
    assert again.returncode == 1
    assert again.stderr.startswith("error: me/small was not uploaded to http://127.0.0.1:")
    assert push("--push", "me/small", "--update").returncode == 0
    nobody = push("--push", "me/other", "--update")
    assert "me/other was not uploaded" in nobody.stderr
    for options in ((), ("a", "--push", "me/x"), ("a", "--public")):
        assert push(*options).returncode == 1
