from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import transformers

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.problem.classification import Classification
from compress.problem.language import LanguageModeling
from compress.transformer.pretrained import load_pretrained, load_skeleton, read_config
from tests.architectures import build
from tests.checkpoints import save_checkpoint


@pytest.fixture
def model_folder(teacher: CompressedModel, tmp_path: Path) -> Path:
    teacher.module.save_pretrained(tmp_path)
    teacher.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_head_for_other_classes_needs_training(model_folder: Path) -> None:
    module, _ = load_pretrained(model_folder, Classification(("a", "b")), fresh_head=False)
    assert module.config.num_labels == 2
    three = ("a", "b", "c")
    with pytest.raises(UserError, match="has no head for 3 classes"):
        load_pretrained(model_folder, Classification(three), fresh_head=False)
    module, _ = load_pretrained(model_folder, Classification(three), fresh_head=True)
    assert module.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_threads_that_load_at_once_leave_weights_tied(model_folder: Path) -> None:
    """transformers replaces a method of all models while it reads one."""
    tie = transformers.PreTrainedModel.tie_weights
    problem = Classification(("a", "b"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: load_pretrained(model_folder, problem, fresh_head=True), range(24)))
    assert transformers.PreTrainedModel.tie_weights is tie


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
    with pytest.raises(UserError, match="has no usable config"):
        load_pretrained(model_folder, Classification(("a", "b")), fresh_head=True)


@pytest.mark.parametrize(
    "said", [{"return_dict": False}, {"output_hidden_states": True}, {"output_attentions": True}]
)
def test_what_a_config_says_of_the_form_of_outputs_is_not_taken(
    model_folder: Path, said: dict[str, bool]
) -> None:
    path = model_folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))
    module, tokenizer = load_pretrained(model_folder, Classification(("a", "b")), fresh_head=False)
    made = module(**tokenizer("a film", return_tensors="pt"))
    assert set(made) == {"logits"}
    assert read_config(model_folder).return_dict


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "distilbert", "t5"])
def test_weights_of_more_blocks_than_the_config_says_are_refused(
    architecture: str, tmp_path: Path
) -> None:
    config = save_checkpoint(tmp_path, architecture).config
    name = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: 1, "num_decoder_layers": 1}))
    with pytest.raises(UserError, match=r"has weights of more blocks than its config\.json, s"):
        load_pretrained(tmp_path, Classification(("a", "b")), fresh_head=True)


def test_a_models_config_has_every_token_that_ends_a_text(tmp_path: Path) -> None:
    """Chat models name them in generation_config.json, which their students would not have."""
    folder = build("llama", tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "saved")
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "saved" / name).replace(folder / name)
    module, _ = load_pretrained(folder, LanguageModeling(), fresh_head=False)
    assert module.config.eos_token_id == [2, 7]
