from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from compress.records.curve import CURVES
from compress.records.recipe import remake_command
from compress.records.schema import Comparison, RunRecord, Speedup, TransferText, write_record
from compress.serve.folder import RunSpec, folder_bytes, read_manifest
from compress.serve.texts import TOKENIZERS, TextSpec
from compress.store.card import model_card
from compress.store.card_usage import usage
from scripts.export import main
from tests.configs import ROOT
from tests.records.test_schema import evaluated_by, make_record


def spec_of(architecture: str) -> RunSpec:
    return RunSpec("torch", architecture)


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_says_figures_recipe_and_command() -> None:
    record = make_record(
        0.8, 1_500_000, 2.0, config={"teacher": {"path": "org/model"}, "pruner": {"sparsity": 0.5}}
    )
    card = model_card(record, spec_of("BertForSequenceClassification"), plain=True)
    assert "BertForSequenceClassification.from_pretrained" in card
    assert "| accuracy, n = 100 | 0.8000 (0.7500 to 0.8500) | 0.9100 (0.8600 to 0.9600) |" in card
    assert "| Matthews correlation | 0.4000 | 0.4000 |" in card
    assert "| size | 1.5 MB | 0.0 MB |" in card
    assert "| bytes saved | -74900 % | – |" in card
    assert "| size as a zip file | 1.1 MB | 0.0 MB |" in card
    assert "| target sparsity | 50.0% | – |" in card
    assert "| runtime | torch | torch |\n| computes in | float32 | float32 |" in card
    assert "on 95.0% of the rows" in card
    assert "not statistically significant (McNemar's exact test, p = 1)" in card
    assert "stores and multiplies zeros like any number" in card
    assert "| speed-up, 1 × 32 tokens | 5.00 (4.50 to 5.50) | 1 |" in card
    assert "| median from text to label, 1 × 32 tokens | 2.50 ms | 10.50 ms |" in card
    assert "| tokenizer | transformers | transformers |" in card
    assert "python run.py pruner=wanda pruner.sparsity=0.5" in card
    assert front_matter(card)["base_model"] == "org/model"
    assert "pruner:wanda" in front_matter(card)["tags"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"prefix": "query: "}, "Each text began with 'query: '"),
        ({"prefixes": ["", "passage: "]}, "Each document began with 'passage: '"),
        ({"vectors": "binary"}, "The scores are of an index with vectors=binary"),
        ({"prefix": "", "vectors": "float32", "dimension": None}, ""),
    ],
)
def test_what_texts_began_with_and_what_was_kept_is_said(
    task: dict[str, object], said: str
) -> None:
    record = make_record(0.8, 1_500_000, 2.0, config={"task": task})
    card = model_card(record, spec_of("BertModel"), plain=True)
    assert "SentenceTransformer(" in card
    assert said in card
    assert ("began with" in card or "an index with" in card) == bool(said)


@pytest.mark.parametrize(
    ("architecture", "runtime", "plain", "library", "pipeline"),
    [
        ("BertModel", "torch", True, "sentence-transformers", "sentence-similarity"),
        ("BertForSequenceClassification", "torch", True, "transformers", "text-classification"),
        ("BertForSequenceClassification", "torch", False, "compress", "text-classification"),
        ("BertForSequenceClassification", "onnxruntime", False, "onnx", "text-classification"),
        ("ViTForImageClassification", "openvino", False, "openvino", "image-classification"),
        ("GPT2LMHeadModel", "torch", True, "transformers", "text-generation"),
        ("LlamaForCausalLM", "torch", True, "transformers", "text-generation"),
        ("X", "torch", True, "transformers", None),
    ],
)
def test_the_front_matter_is_what_the_hub_reads(
    architecture: str, runtime: str, plain: bool, library: str, pipeline: str | None
) -> None:
    record = make_record(0.8)
    record = replace(record, metrics=replace(record.metrics, runtime=runtime))
    card = model_card(record, spec_of(architecture), plain=plain)
    found = ModelCard(card, ignore_metadata_errors=False)
    assert (found.data.library_name, found.data.pipeline_tag) == (library, pipeline)
    [result] = found.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.8)
    assert (result.dataset_type, result.dataset_split) == ("rt", "test")


def test_datasets_of_the_hub_are_in_the_front_matter() -> None:
    record = make_record()
    source = f"SST-2 from nyu-mll/glue at {'0a' * 20}; lines of a/b at noon"
    card = model_card(
        replace(record, data=replace(record.data, source=source)), spec_of("X"), plain=True
    )
    assert front_matter(card)["datasets"] == ["nyu-mll/glue"]
    assert "datasets" not in front_matter(model_card(record, spec_of("X"), plain=True))


def test_the_card_says_what_text_without_labels_it_learned_from() -> None:
    record = make_record()
    found = TransferText("lines of a.txt", 9, 5, 1, 1, {"evaluation": 2, "validation": 0}, "d")
    taught = replace(record, data=replace(record.data, transfer=found))
    card = model_card(taught, spec_of("X"), plain=True)
    assert "Rows: rows. Transfer text: 5 lines of a.txt; dropped of the 9 read: 1 of ano" in card
    assert "Transfer text" not in model_card(record, spec_of("X"), plain=True)


@pytest.mark.parametrize(
    ("runtime", "plain", "shown"),
    [
        ("torch", True, '[{"text": "a text", "text_pair": "its second text"}]'),
        ("torch", False, 'model.classify(["a text"], ["its second text"])'),
        ("onnxruntime", False, 'tokenizer.encode_batch([("a text", "its second text")])'),
    ],
)
def test_a_model_of_pairs_is_used_with_pairs(runtime: str, plain: bool, shown: str) -> None:
    texts = TextSpec(64, ("input_ids",), TOKENIZERS, columns=2)
    spec = RunSpec(
        runtime, "BertForSequenceClassification", options={"precision": "float32"}, texts=texts
    )
    assert shown in usage(spec, plain=plain, classes=True, temperature=None)
    one = replace(spec, texts=replace(texts, columns=1))
    assert "second" not in usage(one, plain=plain, classes=True, temperature=None)


@pytest.mark.parametrize("plain", [True, False])
def test_a_model_of_images_is_used_with_images(plain: bool) -> None:
    card = model_card(make_record(), spec_of("ViTForImageClassification"), plain=plain)
    assert "okenizer.from_pretrained" not in card
    assert ("processor = AutoImageProcessor.from_pretrained" in card) == plain
    assert ("model.processor([image], return_tensors" in card) != plain


def test_what_was_not_measured_is_no_row_and_no_sentence() -> None:
    record = make_record()
    unknown = {"zipped_bytes": None, "bitmask_bytes": None}
    ours, theirs = (replace(each, **unknown) for each in (record.metrics, record.baseline))
    card = model_card(replace(record, metrics=ours, baseline=theirs), spec_of("X"), plain=True)
    assert "| size | " in card
    assert "zip file" not in card
    assert "busy" not in card


@pytest.mark.parametrize("curve", CURVES)
def test_a_step_shows_its_notes_but_for_its_curves(curve: str) -> None:
    point = {"step": 7531, "epoch": 1.0, "loss": 0.5, "validation_loss": None}
    step = {"stage": "student", "settings": {}, "notes": {"kept": 3, curve: [point]}}
    card = model_card(make_record(history=(step,)), spec_of("X"), plain=True)
    assert '"kept": 3' in card
    assert "7531" not in card


def test_no_difference_and_a_busy_machine_are_said() -> None:
    record = make_record(speedup=(Speedup(1, 32, 1.01, 0.98, 1.03, 1.02),))
    busy = replace(record.environment, busy="others took 1.0 of 2", governor="powersave")
    card = model_card(replace(record, environment=busy), spec_of("X"), plain=True)
    assert (
        "| speed-up, 1 × 32 tokens | no measurable difference (interval 0.98 to 1.03) | 1 |" in card
    )
    assert "| median latency, 1 × 32 tokens | ≈5.00 ms | 10.00 ms |" in card
    assert "timed against itself" in card
    assert "It was busy: others took 1.0 of 2." in card
    assert "governor powersave" in card


def test_what_plain_transformers_cannot_load_is_said() -> None:
    card = model_card(make_record(), spec_of("X"), plain=False)
    assert "compress.load(" in card
    assert "from_pretrained(" not in card


def test_a_path_of_this_machine_is_no_base_model() -> None:
    record = make_record(
        config={"teacher": {"path": "/home/me/model"}, "pruner": {"sparsity": 0.5}}
    )
    assert "base_model" not in front_matter(model_card(record, spec_of("X"), plain=True))


def test_words_from_a_config_are_neither_markup_nor_html() -> None:
    evil = "<script>alert(1)</script> | `x` ```\n# no heading"
    record = make_record()
    record = replace(
        record,
        choices={**record.choices, "teacher": evil},
        data=replace(record.data, source=evil),
        history=({"stage": evil, "settings": {"path": evil}},),
    )
    card = model_card(record, spec_of("X"), plain=True)
    # What stands in a code block is shown as it is.
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", card, flags=re.MULTILINE | re.DOTALL)
    assert "Figures" in outside
    assert "<script>" not in outside
    assert "\n# no heading" not in card
    assert json.loads(json.dumps(front_matter(card)))["tags"][0] == "compress"
    assert "````json" in card, "the fence is longer than the ticks inside"


def test_the_command_survives_a_shell() -> None:
    record = make_record(overrides=("pruner.pattern='2:4'", "task.path=my data", "a=$(id)"))
    echo = f"{sys.executable} -c 'import sys; print(sys.argv[2:])' run.py"
    command = remake_command(record).replace("python run.py", echo)
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == str(list(record.overrides))


def exported(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts/export.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_run_writes_its_card_and_export_copies_it(
    run_config: Callable[..., RunRecord], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    record = run_config("pruner=magnitude", folder=folder)
    record = replace(record, choices={**record.choices, "task": "rt"})
    write_record(record, folder)
    model = folder / "model"
    assert (model / "README.md").is_file()
    assert record.metrics.size_bytes == folder_bytes(model), "the card is no part of the size"
    done = exported(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in model.iterdir()}
    read_manifest(tmp_path / "out")
    said = ["--license", "mit", "--language", "en", "--language", "<de>"]
    done = exported(*said, folder, tmp_path / "said")
    assert done.returncode == 0, done.stderr
    cards = [(tmp_path / name / "README.md").read_text() for name in ("out", "said")]
    assert "<de>" not in cards[1]
    assert front_matter(cards[1]) == {
        **front_matter(cards[0]), "license": "mit", "language": ["en", "<de>"],
    }  # fmt: skip
    read_manifest(tmp_path / "said")
    (model / "README.md").unlink()
    done = exported(*said, folder, tmp_path / "no")
    assert done.stderr.endswith("model has no README.md that could say license, language\n")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda run, out: (run / "metrics.json").unlink(), "is not a successful run"),
        (lambda run, out: (out / "x").write_text(""), "is not empty"),
        (lambda run, out: (run / "model/config.json").write_text("{}"), "is damaged"),
    ],
)
def test_export_refuses_in_one_line(
    prepare: Callable[[Path, Path], object],
    said: str,
    run_config: Callable[..., RunRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    write_record(run_config("pruner=none", folder=run), run)
    prepare(run, out)
    monkeypatch.setattr(sys, "argv", ["export.py", str(run), str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    line = str(ended.value)
    assert line.startswith("error: ")
    assert said in line
    assert "\n" not in line


PAIRED = "a paired bootstrap over rows"


@pytest.mark.parametrize(
    ("metric", "agreement", "shown"),
    [
        ("spearman", None, (
            "| Spearman correlation, n = 100 | 0.8000 (0.7600 to 0.8400) | "
            "1.0000 (0.9500 to 1.0500) |",
            "\n\nThe difference in Spearman correlation from its teacher is "
            "statistically significant "
            f"({PAIRED}, p = 0.01).",
        )),
        ("perplexity", 0.9, (
            "| perplexity, n = 100 | 0.800 (0.760 to 0.840) | 1.000 (0.950 to 1.050) |",
            "It agrees with its teacher 90.0% of the time. The difference in perplexity",
        )),
    ],
)  # fmt: skip
def test_a_card_tells_of_what_the_task_is_evaluated_by(
    metric: str, agreement: float | None, shown: tuple[str, ...]
) -> None:
    found = Comparison(agreement, None, None, 0.01, PAIRED)
    card = model_card(evaluated_by(metric, 0.8, 1.0, comparison=found), spec_of("X"), plain=True)
    assert all(words in card for words in shown)
    assert "accuracy" not in card
    assert "None" not in card


def test_a_score_of_a_users_label_is_shown_as_it_is_and_is_no_markup() -> None:
    record = make_record()
    score = replace(record.metrics.score, others={"top5": 0.99, "f1_<b>|x": 0.5})
    theirs = replace(record.baseline.score, others={"top5": 0.98})
    record = replace(
        record,
        metrics=replace(record.metrics, score=score),
        baseline=replace(record.baseline, score=theirs),
    )
    card = model_card(record, spec_of("X"), plain=True)
    assert "| top-5 accuracy | 0.9900 | 0.9800 |" in card
    assert "| f1\\_&lt;b&gt;\\|x | 0.5000 | – |" in card
