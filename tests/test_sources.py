from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from compress.checkpoint_files import OFFLINE_MODELS, find_model
from compress.interfaces import CompressedModel
from compress.pretrained import load_pretrained, load_skeleton
from compress.problem.classification import Classification
from compress.settings import UserError
from compress.sources import MOVIE_REVIEWS, file_digest, load_hub_dataset

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def model_folder(teacher: CompressedModel, tmp_path: Path) -> Path:
    teacher.module.save_pretrained(tmp_path)
    teacher.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_offline_package_is_found_and_is_the_published_one() -> None:
    folder = find_model(MINILM)
    assert (folder / "model.safetensors").is_file()
    assert load_skeleton(folder, "classifier").config.num_hidden_layers == 6


def test_a_package_with_other_bytes_is_refused() -> None:
    with pytest.raises(UserError, match=r"not the file of movie-reviews==0\.0\.2"):
        replace(MOVIE_REVIEWS, sha256="0" * 64).verified_file()


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_digest(path)
    path.write_bytes(b"two")  # within a tick of the clock, and as long as before
    second = file_digest(path)
    os.utime(path, (1, 1))
    assert first != second == file_digest(path)
    path.write_bytes(b"one")
    os.utime(path, (2, 2))
    assert file_digest(path) == first


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.sources.SETTLED_NS", -1)
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_digest(path)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert file_digest(path) == first


def test_an_edit_that_keeps_size_and_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    monkeypatch.setattr("compress.sources.SETTLED_NS", -1)
    first = file_digest(path)
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert file_digest(path) != first


@pytest.mark.parametrize("change", [{"name": "no-such-package"}, {"version": "9.9"}])
def test_an_absent_package_is_none(change: dict[str, str]) -> None:
    assert replace(MOVIE_REVIEWS, **change).verified_file() is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "~/model", "a/b/c"])
def test_a_path_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is no folder"):
        find_model(name)


def test_an_unreachable_hub_names_what_is_there_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        find_model("some-one/some-model")
    text = str(caught.value)
    assert "\n" not in text
    assert "some-one/some-model not found" in text
    assert MINILM in text
    assert OFFLINE_MODELS[MINILM].requirement in text
    monkeypatch.setattr("compress.sources.hub_answers", lambda: False)
    with pytest.raises(UserError, match=r"hub cannot be reached; take task\.source=offline"):
        load_hub_dataset("some/rows", None, "take task.source=offline")


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it has no config\.json"):
        find_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"holds no \*\.safetensors"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "{}", '{"model_type": "t5_of_tomorrow"}'])
def test_a_config_that_is_none_is_refused(model_folder: Path, text: str) -> None:
    (model_folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"has no usable config: .+"):
        load_skeleton(model_folder, "classifier")


def test_a_head_for_other_classes_needs_training(model_folder: Path) -> None:
    module, _ = load_pretrained(model_folder, Classification(("a", "b")), fresh_head=False)
    assert module.config.num_labels == 2
    three = ("a", "b", "c")
    with pytest.raises(UserError, match="has no head for 3 classes"):
        load_pretrained(model_folder, Classification(three), fresh_head=False)
    module, _ = load_pretrained(model_folder, Classification(three), fresh_head=True)
    assert module.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_body_with_missing_weights_is_refused(model_folder: Path) -> None:
    config = model_folder / "config.json"
    text = config.read_text().replace('"num_hidden_layers": 4', '"num_hidden_layers": 5')
    config.write_text(text)
    with pytest.raises(UserError, match="lacks 16 weights of BertForSequenceClassification"):
        load_pretrained(model_folder, Classification(("a", "b")), fresh_head=True)


def test_a_truncated_weights_file_is_refused(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        load_pretrained(model_folder, Classification(("a", "b")), fresh_head=False)


def test_code_in_a_model_folder_is_never_run(model_folder: Path) -> None:
    (model_folder / "evil.py").write_text("raise SystemExit('this ran')")
    config = json.loads((model_folder / "config.json").read_text())
    auto = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    config |= {"auto_map": auto, "model_type": "evil"}
    (model_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="has no usable config"):
        load_skeleton(model_folder, "classifier")
    with pytest.raises(UserError, match="cannot be read"):
        load_pretrained(model_folder, Classification(("a", "b")), fresh_head=True)
