"""No password or token in a config reaches the screen, a record or a file of Hydra's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from compress.config.credentials import HIDDEN, check_config, check_words, scrub, scrubbed
from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError
from compress.config.legible import LONGEST_ERROR
from compress.job import blank_record
from compress.search.storage import open_storage
from tests.commands import refusal
from tests.configs import ROOT, TINY, compose_config

SECRETS = [
    # A text, and the part of it that nobody may see.
    ("postgresql+psycopg://u:hunter2@127.0.0.1:1/x", "hunter2"),
    ("postgresql://u:hunter2@host/x", "hunter2"),
    ("postgresql://:hunter2@host/x", "hunter2"),
    ("mysql+pymysql://u:hun%74er2@host/x", "hun%74er2"),
    ("postgresql://u:hun@ter2@host/x", "ter2"),
    ("postgresql://u:hun/ter2@host/x", "ter2"),
    ("postgresql://u%3Ahunter2@host/x", "hunter2"),
    ("POSTGRESQL://u:hunter2@host/x", "hunter2"),
    ("redis://:hunter2@host:6379/0", "hunter2"),
    ("postgresql://u@host/x?password=hunter2", "hunter2"),
    ("postgresql://u@host/x?sslmode=require&password=hunter2", "hunter2"),
    ("postgresql://u@host/x?PassWord=hunter2", "hunter2"),
    ("postgresql://u@host/x?%70assword=hunter2", "hunter2"),
    ("postgresql:///x?sslpassword=hunter2", "hunter2"),
    ("host=h user=u password=hunter2 dbname=x", "hunter2"),
    ("https://user:hunter2@server/api", "hunter2"),
    ("https://abcdefghij0123456789ABCDEF@huggingface.co/a/b", "abcdefghij0123456789ABCDEF"),
    ("https://server/api?token=hunter2", "hunter2"),
    ("https://server/api?api_key=hunter2&x=1", "hunter2"),
    ("https://server/api?access_token=hunter2#here", "hunter2"),
    ("hf_" + "aB3" * 11 + "x", "aB3aB3"),
    ("see hf_" + "aB3" * 11 + "x there", "aB3aB3"),
    ("ghp_" + "a1B2" * 9, "a1B2a1B2"),
    ("sk-" + "a1B2" * 9, "a1B2a1B2"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
    ("(psycopg.OperationalError) postgresql://u:hunter2@h/x failed: hunter", "hunter2"),
]
HARMLESS = [
    "sqlite", "journal", "postgresql+psycopg://user@host/name", "postgresql://user@host:5432/name",
    "postgresql://user:@host/x", "http://127.0.0.1:5000", "https://huggingface.co/a/b@main",
    "sqlite:////tmp/a:b@c/study.db", "http://127.0.0.1:5000/path/x@y", "outputs/runs/a:b@c",
    "${oc.env:DATABASE_URL}", "${now:%Y-%m-%d}/${now:%H-%M-%S}", "google-bert/bert-base-uncased",
    "hf_internal_testing/tiny-random-bert", "/data/risk-assessment-of-long-documents-2024",
    "pruner.sparsity=0.5", "the tokens = 5 and a password", "user@example.org", "C:\\a:b", "",
    "postgresql://user@host/x?sslmode=require&passfile=/home/u/.pgpass",
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_refused_and_never_said(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in scrub(text)
    assert HIDDEN in scrub(text)
    assert scrub(scrub(text)) == scrub(text)
    for check in (
        lambda: check_words(f"search.storage={text}"),
        lambda: check_words(f"+a.b='{text}'"),
        lambda: check_words(text),
        lambda: check_config(OmegaConf.create({"a": {"b": [1, {"c": text}]}})),
    ):
        with pytest.raises(ConfigError, match="must not contain a password or token") as refused:
            check()
        assert secret not in str(refused.value)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none_is_left_as_it_is(text: str) -> None:
    assert scrub(text) == text
    check_words(f"search.storage={text}")
    check_config(OmegaConf.create({"a": text}))


@pytest.mark.parametrize(
    ("key", "value", "is_one"),
    [
        ("hub.token", "abc", True),
        ("db.password", "x", True),
        ("a.api_key", "x", True),
        ("db.password", "", False),
        ("db.password", "null", False),
        ("db.password", "${oc.env:PGPASSWORD}", False),
        ("task.tokens", "abc", False),
        ("pad_token_id", "3", False),
    ],
)
def test_a_setting_may_be_a_secret_by_its_name(key: str, value: str, is_one: bool) -> None:
    group, _, name = key.rpartition(".")
    config = OmegaConf.create({group: {name: value}} if group else {name: value})
    for check in (lambda: check_words(f"+{key}={value}"), lambda: check_config(config)):
        if is_one:
            with pytest.raises(ConfigError, match=f"{key} must not contain a password"):
                check()
        else:
            check()
    hidden = scrubbed({group: {name: value}})
    assert hidden == {group: {name: HIDDEN if is_one else value}}


def test_what_is_said_beside_a_secret_stays() -> None:
    text = "50 % of a b%20c failed at postgresql://u:hunter2@h/x and ?%70assword=hunter2 here"
    said = f"50 % of a b%20c failed at postgresql://u:{HIDDEN}@h/x and {HIDDEN} here"
    assert scrub(text) == said


def test_what_to_do_instead_is_said() -> None:
    for key, how in (
        ("search.storage", "PGPASSFILE"),
        ("hydra.sweeper.storage", "PGPASSWORD"),
        ("tracker.uri", "MLFLOW_TRACKING_PASSWORD"),
        ("task.path", "HF_TOKEN"),
    ):
        with pytest.raises(ConfigError, match=how):
            check_words(f"{key}=https://u:hunter2@host/x")


def test_every_config_of_the_project_is_free_of_what_looks_like_one() -> None:
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        config = OmegaConf.load(path)
        if OmegaConf.is_dict(config):
            check_config(config)  # type: ignore[arg-type]


def test_a_record_has_none_even_where_a_variable_stands_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@host/x")
    cfg = compose_config(*TINY)
    OmegaConf.set_struct(cfg, False)
    cfg.search = {"storage": "${oc.env:DATABASE_URL}"}
    check_config(cfg)
    record = blank_record(cfg, {}, ("tracker.uri=http://u:hunter2@host",))
    assert record.config["search"] == {"storage": f"postgresql://u:{HIDDEN}@host/x"}
    assert record.overrides == (f"tracker.uri=http://u:{HIDDEN}@host",)


def test_an_error_has_none() -> None:
    assert one_line(ValueError("no postgresql://u:hunter2@h/x")) == (
        f"ValueError: no postgresql://u:{HIDDEN}@h/x"
    )


def test_an_error_of_megabytes_is_cut_and_does_not_take_minutes() -> None:
    words = "a.b-c://d:" * 1_000_000
    assert one_line(UserError(words)) == f"{words[:LONGEST_ERROR]}… ({len(words):,} characters)"


@pytest.mark.parametrize(
    "url", ["nothing://u:hunter2@host/x", "postgresql+nothing://u:hunter2@host/x"]
)
def test_a_storage_that_cannot_be_opened_says_none(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.search.storage.PAUSE_SECONDS", 0.0)
    with pytest.raises(UserError, match=r"search\.storage=") as refused:
        open_storage(url, tmp_path)
    assert "hunter2" not in str(refused.value)


URL = "postgresql+psycopg://u:hunter2@127.0.0.1:1/x"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "+search=pareto", f"search.storage={URL}"),
        ("-m", "+search=pareto", "search.storage=postgresql://u@127.0.0.1:1/x?password=hunter2"),
        ("-m", "+search=optuna_stock", f"hydra.sweeper.storage={URL}"),
        ("-m", "pruner=none,wanda", f"tracker=mlflow tracker.uri={URL}"),
        ("tracker=mlflow", "tracker.uri=http://u:hunter2@127.0.0.1:1"),
        ("task=csv", "task.path=https://u:hunter2@host/rows.csv"),
        ("teacher=local", "teacher.path=https://host/model?token=hunter2"),
        (f"+note={URL}", "pruner=wandaa"),
        ("+hub.token=hunter2",),
        ("seed=postgresql://u:hunter2@h x",),
    ],
)
def test_a_command_with_one_leaves_nothing_and_says_nothing_of_it(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = (f"hydra.sweep.dir={tmp_path}/s", f"hydra.run.dir={tmp_path}/r")
    line = refusal(*TINY, *arguments, *places, f"cache.dir={tmp_path}/c")
    assert line.startswith("error: ")
    assert "must not contain a password or token, because configs are recorded" in line
    out, err = capfd.readouterr()
    assert "hunter2" not in line + out + err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("multirun", [True, False])
def test_one_in_a_yaml_file_is_refused_before_hydra_copies_it(
    multirun: bool, tmp_path: Path
) -> None:
    conf = tmp_path / "conf" / "tracker"
    conf.mkdir(parents=True)
    text = (ROOT / "conf" / "tracker" / "mlflow.yaml").read_text()
    assert "uri: null" in text
    (conf / "mine.yaml").write_text(text.replace("uri: null", "uri: http://u:hunter2@127.0.0.1:1"))
    places = (f"hydra.sweep.dir={tmp_path}/s", f"hydra.run.dir={tmp_path}/r")
    # In a process of its own: Hydra closes what this one's log is captured in.
    command = [sys.executable, "run.py", *(("-m", "seed=0,1") if multirun else ())]
    command += ["--config-dir", str(tmp_path / "conf"), "tracker=mine", *TINY, *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: tracker.uri must not contain a password or token")
    assert "hunter2" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]
