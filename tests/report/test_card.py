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

from compress.artifact import folder_bytes, read_manifest
from compress.records import RunRecord, write_record
from compress.report.card import model_card, remake_command
from tests.conftest import ROOT
from tests.test_records import make_record


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_says_figures_recipe_and_command() -> None:
    record = make_record(
        0.8, 1_500_000, 2.0, config={"teacher": {"path": "org/model"}, "pruner": {"sparsity": 0.5}}
    )
    card = model_card(record, "BertForSequenceClassification", plain=True)
    assert "BertForSequenceClassification.from_pretrained" in card
    assert "| accuracy, n = 100 | 0.8000 (0.7500 to 0.8500) | 0.9100 (0.8600 to 0.9600) |" in card
    assert "| size | 1.5 MB | 0.0 MB |" in card
    assert "| speed-up, 1 × 32 tokens | 5.00 (4.50 to 5.50) | 1 |" in card
    assert "python run.py pruner=wanda pruner.sparsity=0.5" in card
    assert front_matter(card)["base_model"] == "org/model"
    assert "pruner:wanda" in front_matter(card)["tags"]  # type: ignore[operator]


def test_what_plain_transformers_cannot_load_is_said() -> None:
    card = model_card(make_record(), "X", plain=False)
    assert "compress.load(" in card
    assert "from_pretrained(" not in card


def test_a_path_of_this_machine_is_no_base_model() -> None:
    record = make_record(
        config={"teacher": {"path": "/home/me/model"}, "pruner": {"sparsity": 0.5}}
    )
    assert "base_model" not in front_matter(model_card(record, "X", plain=True))


def test_words_from_a_config_are_neither_markup_nor_html() -> None:
    evil = "<script>alert(1)</script> | `x` ```\n# no heading"
    record = make_record()
    assert record.data is not None
    record = replace(
        record,
        choices={**record.choices, "teacher": evil},
        data=replace(record.data, source=evil),
        history=({"stage": evil, "settings": {"path": evil}},),
    )
    card = model_card(record, "X", plain=True)
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


def test_a_run_writes_its_card_and_export_copies_it(
    run_config: Callable[..., RunRecord], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    record = run_config("pruner=magnitude", folder=folder)
    record = replace(record, choices={**record.choices, "task": "rt"})
    write_record(record, folder)
    model = folder / "model"
    assert record.metrics is not None
    assert (model / "README.md").is_file()
    assert record.metrics.size_bytes == folder_bytes(model), "the card is no part of the size"
    export = [sys.executable, ROOT / "scripts/export.py"]
    done = subprocess.run([*export, folder, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in model.iterdir()}
    read_manifest(tmp_path / "out")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda run, out: (run / "metrics.json").unlink(), "is no run that succeeded"),
        (lambda run, out: (out / "x").write_text(""), "is not empty"),
        (lambda run, out: (run / "model/config.json").write_text("{}"), "is damaged"),
    ],
)
def test_export_refuses_in_one_line(
    prepare: Callable[[Path, Path], object],
    said: str,
    run_config: Callable[..., RunRecord],
    tmp_path: Path,
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    write_record(run_config("pruner=none", folder=run), run)
    prepare(run, out)
    export = [sys.executable, ROOT / "scripts/export.py", run, out]
    done = subprocess.run(export, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
