from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, InferenceModel, Quantizer, Step
from compress.quantizer.none import NoQuantizer
from compress.serve.folder import folder_bytes, read_manifest, read_spec
from compress.store.artifact import load
from compress.system.digests import file_digest
from tests.configs import settings_of
from tests.tiny import torch_export


@pytest.fixture
def folder(teacher: CompressedModel, tmp_path: Path) -> Path:
    torch_export(teacher, NoQuantizer(), tmp_path / "model")
    return tmp_path / "model"


def logits(model: Callable[..., object], tokenizer: Callable[..., object]) -> torch.Tensor:
    batch = tokenizer(["a good film", "a bad one"], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**batch).logits  # type: ignore[arg-type]
    assert isinstance(found, torch.Tensor)
    return found


def test_plain_transformers_loads_the_same_model(folder: Path) -> None:
    ours = load(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["a good film", "a bad one"], padding=True, return_tensors="pt")
    assert isinstance(ours, InferenceModel)
    assert torch.equal(ours.predict(batch), logits(plain, tokenizer))
    assert plain.config.id2label == {0: "sad", 1: "glad"}


def test_manifest_tells_what_was_done(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert [step.stage for step in manifest.history] == ["teacher", "quantizer"]
    assert read_spec(folder).architecture == "BertForSequenceClassification"
    assert set(manifest.files) == {p.name for p in folder.iterdir()} - {"manifest.json"}


def test_no_file_is_a_pickle(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def damage(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_found(folder: Path, name: str) -> None:
    damage(folder, name)
    with pytest.raises(UserError, match=f"{name} is damaged"):
        load(folder)


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "vocab.txt", "adapter_config.json", "pytorch_model.bin", "sub"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_not_listed_is_refused(
    packed: bool, name: str, teacher: CompressedModel, tmp_path: Path
) -> None:
    """A loader might run it: `model.safetensors` beside packed weights was."""
    torch_export(teacher, int8() if packed else NoQuantizer(), tmp_path)
    if name == "model.safetensors" and not packed:
        name = "weights.safetensors"
    if name == "sub":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"another model's")
    with pytest.raises(UserError, match=rf"{name} is not in manifest\.json"):
        load(tmp_path)


def test_the_card_and_what_hubs_leave_are_no_part_of_the_model(folder: Path) -> None:
    before = folder_bytes(folder)
    for name in ("README.md", ".gitattributes", ".DS_Store"):
        (folder / name).write_text("words")
    (folder / ".git").mkdir()
    load(folder)
    assert folder_bytes(folder) == before


def test_a_file_in_a_folder_is_verified_as_others_are(folder: Path) -> None:
    """That of sentence-transformers; other folders are refused."""
    inside = folder / "1_Pooling"
    inside.mkdir()
    (inside / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json is not in manifest\.json"):
        load(folder)
    files = {"1_Pooling/config.json": file_digest(inside / "config.json")}
    rewrite_manifest(folder, {**read_files(folder), **files})
    before = folder_bytes(folder)
    load(folder)
    (inside / "config.json").write_text("{} ")
    assert folder_bytes(folder) == before + 1
    with pytest.raises(UserError, match=r"1_Pooling/config\.json is damaged"):
        load(folder)


def rewrite_manifest(folder: Path, files: dict[str, str]) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": files}))


@pytest.mark.parametrize("gone", ["config.json", "runtime.json", "model.safetensors", None])
def test_a_manifest_that_lists_no_whole_model_is_refused(folder: Path, gone: str | None) -> None:
    files = read_manifest(folder).files
    kept = {} if gone is None else {name: d for name, d in files.items() if name != gone}
    rewrite_manifest(folder, kept)
    with pytest.raises(
        UserError, match=r"manifest\.json does not list a complete model: .+ is missing"
    ):
        load(folder)


@pytest.mark.parametrize("name", ["../a.json", "/etc/hostname", "sub/a.json", "..", "", "a\\b"])
def test_a_manifest_lists_plain_names(folder: Path, name: str) -> None:
    (folder.parent / "a.json").write_text("{}")
    rewrite_manifest(folder, {**read_manifest(folder).files, name: "0" * 64})
    with pytest.raises(UserError, match="expected names of files beside it"):
        load(folder)


def test_a_manifest_lists_one_set_of_weights(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"more")
    other = {"weights.safetensors": file_digest(folder / "weights.safetensors")}
    rewrite_manifest(folder, {**read_files(folder), **other})
    with pytest.raises(UserError, match=r"lists model\.safetensors and weights\.safetensors, exp"):
        load(folder)


def change_weights(
    folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    """As a stranger would who can compute checksums."""
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name, metadata={"format": "pt"})
    rewrite_manifest(folder, {**read_files(folder), name: file_digest(folder / name)})


def read_files(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "manifest.json").read_text())["files"]
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("classifier.bias"), "lacks 1 weights|Missing key.*classifier"),
        (
            lambda tensors: tensors.update({"bert.more": torch.zeros(2)}),
            "has 1 unexpected weights|Unexpected key.*bert.more",
        ),
        (
            lambda tensors: tensors.update({"classifier.bias": torch.zeros(3)}),
            "has 1 weights of another shape|size mismatch for classifier",
        ),
    ],
)
def test_tensors_that_lack_or_are_left_over_are_refused(
    packed: bool, change: Callable[[dict[str, torch.Tensor]], object], reason: str,
    teacher: CompressedModel, tmp_path: Path,
) -> None:  # fmt: skip
    """transformers draws what lacks at random, and passes over what is left."""
    torch_export(teacher, int8() if packed else NoQuantizer(), tmp_path)
    change_weights(tmp_path, "weights.safetensors" if packed else "model.safetensors", change)
    with pytest.raises(UserError, match=reason) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_artifact_does_not_tell_where_it_was_made(folder: Path) -> None:
    for path in folder.glob("*.json"):
        assert not {"is_local", "local_files_only", "name_or_path"} & set(
            json.loads(path.read_text())
        )


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"schema": 99}, "has schema 99, this version reads 3"), ({"history": 3}, "is damaged")],
)
def test_a_hostile_or_foreign_manifest_is_refused(
    folder: Path, change: dict[str, object], reason: str
) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=reason):
        load(folder)


def int8() -> Quantizer:
    made = settings_of("quantizer", "int8_dynamic")
    assert isinstance(made, Quantizer)
    return made


def rewrite_spec(folder: Path, raw: dict[str, object]) -> None:
    """As a stranger would who can compute checksums."""
    (folder / "runtime.json").write_text(json.dumps(raw))
    rewrite_manifest(
        folder, {**read_files(folder), "runtime.json": file_digest(folder / "runtime.json")}
    )


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        ("os.system", "names the runtime 'os.system'; allowed: onnxruntime, openvino, torch"),
        ("compress.runtime.torch.TorchRuntime", "names the runtime 'compress.runtime.torch.Torch"),
        ("low_rank_linear", "names the runtime 'low_rank_linear'"),
        (3, "is damaged"),
    ],
)
def test_a_hostile_or_foreign_runtime_is_refused(
    folder: Path, runtime: object, reason: str
) -> None:
    raw = json.loads((folder / "runtime.json").read_text())
    rewrite_spec(folder, raw | {"runtime": runtime})
    with pytest.raises(UserError, match=reason):
        load(folder)


@pytest.mark.parametrize("name", ["NoSuchModel", "pipeline", "AutoConfig", "BertConfig", "utils"])
def test_a_folder_names_a_model_of_transformers(folder: Path, name: str) -> None:
    raw = json.loads((folder / "runtime.json").read_text())
    rewrite_spec(folder, raw | {"architecture": name})
    with pytest.raises(UserError, match=f"names {name}, which is not a transformers model class"):
        load(folder)


def test_a_folder_cannot_build_foreign_modules(teacher: CompressedModel, tmp_path: Path) -> None:
    torch_export(teacher, int8(), tmp_path)
    raw = json.loads((tmp_path / "runtime.json").read_text())
    name = next(iter(raw["modules"]))
    for kind in ("builtins.eval", "compress.transformer.stored_modules.LowRankLinear", "torch"):
        raw["modules"][name]["kind"] = kind
        rewrite_spec(tmp_path, raw)
        with pytest.raises(UserError, match=f"the stored module '{kind}'; allowed: factorized_"):
            load(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a compress model folder"):
        load(tmp_path)


def test_reading_leaves_the_callers_random_numbers_alone(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, int8(), tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load(tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_the_words_of_a_recipe_are_no_bytes_of_the_model(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    """Two models that differ in their history alone are equally large."""
    told = Step("pruner", {"why": "a long story " * 50})
    sizes = []
    for name, model in (("a", teacher), ("b", teacher.then(teacher.module, told))):
        torch_export(model, NoQuantizer(), tmp_path / name)
        sizes.append(folder_bytes(tmp_path / name))
    assert sizes[0] == sizes[1]
