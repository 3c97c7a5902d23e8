"""Commands told to write where something lies: nothing of the user's is lost.

Most commands here are refused for a setting once their folder is locked: that takes no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from compress.config.errors import UserError
from compress.records.schema import write_record
from compress.store.cache_root import open_root
from compress.store.folder_locks import check_cache, check_inputs
from compress.store.run_folder import RUN, SWEEP, locked_folder, write_mark
from tests.commands import refusal
from tests.configs import TINY
from tests.folders import contents
from tests.records.test_schema import make_record
from tests.store.test_run_folder import write_model, write_run

REFUSED = (*TINY, "pruner=wanda", "pruner.sparsity=2")
REASON = "pruner.sparsity must be in [0, 1), got 2"


def a_users_model(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "precious.txt").write_text("mine")
    (folder / "fold-backup").mkdir()
    (folder / "fold-backup" / "precious.txt").write_text("mine")
    (folder / "metrics.json").write_text("mine")


def a_users_hydra(folder: Path) -> None:
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("mine")


def a_teacher(folder: Path) -> None:
    write_model(folder / "model")
    (folder / "fold-1").mkdir()
    (folder / "fold-1" / "notes.txt").write_text("a year of work")


def a_cache(folder: Path) -> None:
    open_root(folder)


def a_sweep(folder: Path) -> None:
    write_mark(folder, SWEEP)
    write_run(folder / "0")


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("mine")


def a_run(folder: Path) -> None:
    write_run(folder)


def a_sweep_of_others(folder: Path) -> None:
    write_run(folder / "deep" / "er")


OTHERS = [a_users_model, a_users_hydra, a_teacher, a_cache, a_file]


@pytest.mark.parametrize("make", [*OTHERS, a_sweep])
def test_a_run_leaves_what_is_not_a_runs(make: Callable[[Path], None], tmp_path: Path) -> None:
    check_refused("hydra.run.dir", make, tmp_path, f"hydra.run.dir={tmp_path / 'out'}")


@pytest.mark.parametrize("make", [*OTHERS, a_run, a_sweep, a_sweep_of_others])
def test_a_sweep_leaves_what_is_there(make: Callable[[Path], None], tmp_path: Path) -> None:
    check_refused("hydra.sweep.dir", make, tmp_path, "-m", f"hydra.sweep.dir={tmp_path / 'out'}")


@pytest.mark.parametrize("make", [*OTHERS, a_run, a_sweep])
def test_a_search_leaves_what_is_no_search(make: Callable[[Path], None], tmp_path: Path) -> None:
    check_refused(
        "hydra.sweep.dir", make, tmp_path, "-m", "+search=pareto",
        f"hydra.sweep.dir={tmp_path / 'out'}",
    )  # fmt: skip


def check_refused(key: str, make: Callable[[Path], None], folder: Path, *arguments: str) -> None:
    (folder / "out").mkdir()
    make(folder / "out")
    before = contents(folder)
    said = refusal(*TINY, *arguments)
    assert said.startswith(f"error: {key}: {folder / 'out'}")
    assert "\n" not in said
    assert contents(folder) == before


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run that has ended."""
    folder = tmp_path / "finished"
    write_run(folder)
    write_record(make_record(), folder)
    return folder


def test_a_run_that_is_refused_keeps_what_an_earlier_one_has_found(finished: Path) -> None:
    before = contents(finished)
    assert refusal(*REFUSED, f"hydra.run.dir={finished}") == f"error: {REASON}"
    after = contents(finished)
    assert {name: after[name] for name in before if name != RUN} == {
        name: words for name, words in before.items() if name != RUN
    }


def test_a_failed_run_is_followed_by_another_of_its_folder(tmp_path: Path) -> None:
    for sparsity in (2, 3):
        refusal(*REFUSED, f"pruner.sparsity={sparsity}", f"hydra.run.dir={tmp_path / 'out'}")
        record = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert record["error"].endswith(f"got {sparsity}")


@pytest.mark.parametrize(
    "inside",
    [
        ("teacher=local", "teacher.path={}/model"),
        ("teacher=artifact", "teacher.folder={}/linked/model"),
        ("teacher=local", "teacher.path={}/model/model.safetensors"),
        ("student=pretrained", "student.path={}/model"),
        ("task=csv", "task.path={}/metrics.json"),
        ("task=csv", "task.path=x.csv", "task.split.evaluation_path={}/fold-1/metrics.json"),
        ("pruner=vocabulary", "pruner.words={}/metrics.json"),
        ("task=csv", "task.path={}"),
    ],
)
def test_inputs_in_the_runs_own_folder_are_refused(
    inside: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    (finished / "linked").symlink_to(finished)
    before = contents(finished)
    words = [each.format(finished) for each in inside]
    said = refusal(*TINY, *words, f"hydra.run.dir={tmp_path / '.' / 'finished'}")
    key = words[-1].partition("=")[0]
    assert said.startswith(f"error: hydra.run.dir: {key}=")
    assert "the output folder" in said
    assert contents(finished) == before


def test_no_text_but_a_path_is_an_input(tmp_path: Path) -> None:
    for words in ("", "none", "x" * 5000, "nul\0", "${nothing.there}", "~", str(tmp_path.parent)):
        check_inputs(OmegaConf.create({"task": {"path": words}}), tmp_path)
    for how in ("search", "cache", "tracker", "hydra"):
        check_inputs(OmegaConf.create({how: {"dir": str(tmp_path)}}), tmp_path)
    files = OmegaConf.create({"task": {"files": [{"path": "x"}, {"path": str(tmp_path)}]}})
    with pytest.raises(UserError, match=r"task\.files\[1\]\.path="):
        check_inputs(files, tmp_path)


@pytest.mark.parametrize("place", [".", "cache", "model/cache", "../out/x"])
def test_a_cache_in_the_folder_of_a_run_is_refused(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError, match=r"cache\.dir=.* lies in "):
        check_cache(OmegaConf.create({"cache": {"dir": str(folder / place)}}), folder)
    check_cache(OmegaConf.create({"cache": {"dir": str(tmp_path / "cache")}}), folder)


def test_a_folder_named_by_the_search_is_the_trials_too(tmp_path: Path) -> None:
    """Jobs are composed without the search's own settings."""
    refusal(
        "-m", "+search=pareto", *TINY, "student=none", "~search.space", "pruner=wanda",
        "pruner.sparsity=2,3", "search.name='what?x=1'", f"cache.dir={tmp_path / 'cache'}",
        f"hydra.sweep.dir={tmp_path}/${{search.name}}", "hydra.sweeper.n_trials=1",
        "hydra.sweeper.max_failures=0",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["what?x=1"]
    assert (tmp_path / "what?x=1" / "study.db").is_file()
    assert REASON[:30] in (tmp_path / "what?x=1" / "0" / "metrics.json").read_text()


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    for _ in range(3):
        assert refusal(*REFUSED, f"hydra.run.dir={tmp_path}/${{now:%Y}}/run") == f"error: {REASON}"
    (year,) = tmp_path.iterdir()
    assert sorted(path.name for path in year.iterdir()) == ["run", "run-2", "run-3"]
    assert all((path / "metrics.json").is_file() for path in year.iterdir())
    assert all((path / ".hydra" / "config.yaml").is_file() for path in year.iterdir())


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps begin although their runs will be refused, which is the shortest that one can be."""
    monkeypatch.setattr("compress.experiment.grid.refusal", lambda *_: None)


@pytest.mark.usefixtures("unchecked")
def test_sweeps_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    for _ in range(2):
        arguments = ("-m", *REFUSED, f"hydra.sweep.dir='{tmp_path}/it\\'s ${{now:%Y}}'")
        assert refusal(*arguments) == "1", "a sweep with a failed run says so"
    first, second = sorted(tmp_path.iterdir())
    assert second.name == f"{first.name}-2"
    for folder in (first, second):
        assert [path.parent.name for path in folder.rglob("metrics.json")] == ["0"]
        assert (folder / "results.csv").is_file()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that is under way."""
    folder = tmp_path / "locked"
    write_run(folder)
    with locked_folder(folder, RUN):
        (folder / RUN).write_text("process 1 on another host\n")
        yield folder


def test_a_folder_in_use_is_refused(locked: Path) -> None:
    before = contents(locked)
    said = refusal(*TINY, f"hydra.run.dir={locked}")
    assert said.startswith(f"error: hydra.run.dir: {locked} is in use by another run (process 1")
    assert contents(locked) == before


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("subdir", ["same", "../{folder}/x/../../outside", "."])
def test_runs_of_a_sweep_share_no_folder(
    subdir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "metrics.json").write_text("mine")
    said = refusal(
        "-m", *TINY, "pruner=wanda", "pruner.sparsity=2,3",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
        f"hydra.sweep.subdir={subdir.format(folder='sweep')}",
    )  # fmt: skip
    assert "hydra.sweep.subdir must" in said + capsys.readouterr().out
    assert (tmp_path / "outside" / "metrics.json").read_text() == "mine"
    records = [json.loads(path.read_text()) for path in (tmp_path / "sweep").rglob("metrics.json")]
    assert [record["error"] for record in records] == ([REASON] if subdir == "same" else [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("+search=pareto", "hydra.sweeper.n_trials=0"),
        ("+search=pareto", "search.workers=0"),
        ("+search=pareto", "~search.name"),
        ("pruner=wanda,nothing",),
    ],
)
def test_a_sweep_that_begins_nothing_leaves_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    said = refusal("-m", *arguments, f"hydra.sweep.dir={folder}")
    assert said.startswith("error: ")
    assert not folder.exists()
    # An empty folder of the user's stays.
    (tmp_path / "empty").mkdir()
    refusal("-m", *arguments, f"hydra.sweep.dir={tmp_path / 'empty'}")
    assert (tmp_path / "empty").is_dir()
