"""Tasks of EleutherAI's harness, held against the harness: its requests, tokens and metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, TaskData
from compress.measure.score import predict_all
from compress.task.lm_eval import LmEval
from tests.architectures import build
from tests.configs import settings_of
from tests.vocabularies import WORDS

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{train: {folder}/train.jsonl, test: {folder}/test.jsonl}}}}
training_split: train
test_split: test
output_type: {output}
doc_to_text: "{{{{question}}}} "
doc_to_target: {target}
{more}
metric_list:
"""
CHOICE = "doc_to_choice: choices\nnum_fewshot: 1\nfewshot_config: {sampler: first_n}\n"
COUNT = 30

pytestmark = pytest.mark.filterwarnings("ignore")


def words(first: int, count: int) -> str:
    return " ".join(WORDS[place % len(WORDS)] for place in range(first, first + count))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two tasks and their rows."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    for part, count in (("train", 8), ("test", COUNT)):
        rows = [
            {
                "question": f"{part} {i} {words(7 * i, i % 5 + 1)}",
                "choices": [words(i + 3 * k, k + 1) for k in range(3)],
                "answer": i % 3,
                "word": words(i, 1),
            }
            for i in range(count)
        ]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    choice = TASK.format(
        name="mine", folder=tmp_path, output="multiple_choice", target="answer", more=CHOICE
    )
    word = TASK.format(
        name="words", folder=tmp_path, output="loglikelihood", target="word", more=""
    )
    (tmp_path / "mine.yaml").write_text(f"{choice}  - metric: acc\n  - metric: acc_norm\n")
    (tmp_path / "words.yaml").write_text(f"{word}  - metric: acc\n  - metric: perplexity\n")
    return tmp_path


def task(name: str) -> LmEval:
    return settings_of("task", "lm_eval", f"task.name={name}", "task.calibration_samples=2",
                       "task.max_length=64")  # fmt: skip


def harness_says(name: str, module: Any, tokenizer: Any) -> dict[str, float]:
    """What the harness makes of plain transformers' logits."""
    from lm_eval.api.model import TemplateLM
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    class Plain(TemplateLM):
        eot_token_id = 0

        def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
            ids: list[int] = tokenizer(string)["input_ids"]
            return ids

        @torch.no_grad()
        def _loglikelihood_tokens(self, requests: Any, *_: Any, **__: Any) -> Any:
            for _pair, context, ending in requests:
                ids = torch.tensor([context + ending])
                scores = module(ids).logits[0, len(context) - 1 : -1].log_softmax(dim=-1)
                wanted = torch.tensor(ending)[:, None]
                greedy = bool((scores.argmax(dim=-1) == wanted[:, 0]).all())
                yield float(scores.gather(1, wanted).sum()), greedy

        def loglikelihood_rolling(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

        def generate_until(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    tasks = TaskManager(include_defaults=False).load(name)
    (found,) = evaluate(Plain(), tasks, bootstrap_iters=0)["results"].values()
    return {key.removesuffix(",none"): value for key, value in found.items() if "," in key}


def ours(data: TaskData, model: CompressedModel) -> dict[str, float]:
    rows = data.tokenized(model).evaluation

    class Predictor:
        tokenizer = model.tokenizer

        @torch.no_grad()
        def predict(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = model.module(**batch).logits
            return logits

    problem = data.training.problem
    found = problem.evaluate(predict_all(Predictor(), rows, 4, problem.kept), rows.labels)  # type: ignore[arg-type]
    return {"acc": found.value, **found.others}


@pytest.mark.parametrize("architecture", ["llama_lm", "gpt2_lm"])
def test_scores_are_those_of_the_harness(architecture: str, home: Path) -> None:
    folder = build(architecture, home / "model")
    module = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = CompressedModel(module, tokenizer, ())
    data = task(str(home / "mine.yaml")).load()
    theirs = harness_says(str(home / "mine.yaml"), module, tokenizer)
    found = ours(data, model)
    assert len(data.tokenized(model).evaluation) == COUNT
    assert found["acc"] == pytest.approx(theirs["acc"])
    assert found["accuracy_by_length"] == pytest.approx(theirs["acc_norm"])
    assert 0 < theirs["acc"] < 1
    theirs = harness_says(str(home / "words.yaml"), module, tokenizer)
    found = ours(task(str(home / "words.yaml")).load(), model)
    assert found["acc"] == pytest.approx(theirs["acc"])
    assert found["ending_perplexity"] == pytest.approx(theirs["perplexity"], rel=1e-4)


def test_perplexity_is_the_harnesss_on_equal_windows(home: Path) -> None:
    """Their sum over the tokens of each window after its first, by their own wrapper of models."""
    from lm_eval.models.huggingface import HFLM

    folder = build("llama_lm", home / "model")
    module = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (home / "text.txt").write_text("\n\n".join(words(i, 40) for i in range(60)))
    settings = ("task.context=32", f"task.path={home / 'text.txt'}", "task.calibration_samples=2")
    model = CompressedModel(module, tokenizer, ())
    data = settings_of("task", "textfile", *settings).load()  # type: ignore[attr-defined]
    rows = data.tokenized(model).evaluation
    windows = [row["input_ids"] for row in rows.encode(tokenizer)]
    assert len(windows) > 3
    harness = HFLM(pretrained=module, tokenizer=tokenizer, batch_size=2)
    requests = [(("", ""), ids[:1], ids[1:]) for ids in windows]
    sums = [total for total, _ in harness._loglikelihood_tokens(requests, disable_tqdm=True)]
    theirs = math.exp(-sum(sums) / sum(len(ids) - 1 for ids in windows))
    # The first score of a text is its perplexity.
    assert ours(data, model)["acc"] == pytest.approx(theirs, rel=1e-5)


def test_mutual_information_asks_more_and_changes_no_answer(home: Path) -> None:
    """For acc_mutual_info the harness asks for each ending without its text as well."""
    folder = build("llama_lm", home / "model")
    module = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    path = home / "mine.yaml"
    path.write_text(f"{path.read_text()}  - metric: acc_mutual_info\n")
    theirs = harness_says(str(path), module, tokenizer)
    found = ours(task(str(path)).load(), CompressedModel(module, tokenizer, ()))
    assert found["acc"] == pytest.approx(theirs["acc"])
    assert found["accuracy_by_length"] == pytest.approx(theirs["acc_norm"])
    assert "acc_mutual_info" in theirs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("metric: acc_norm", "metric: f1"), ""),  # there is acc
        (("metric: acc", "metric: f1"), "mine.yaml is scored by f1, f1_norm"),
        (("metric_list:", "process_results: !function own.scores\nmetric_list:"), "own for that"),
        (("metric: acc\n", "metric: acc\n    aggregation: median\n"), ""),  # there is acc_norm
    ],
)
def test_a_task_that_is_not_scored_by_accuracy_is_refused(
    change: tuple[str, str], said: str, home: Path
) -> None:
    path = home / "mine.yaml"
    (home / "own.py").write_text("def scores(doc, results):\n    return {}\n")
    path.write_text(path.read_text().replace(*change).replace("f1_norm", "brier_score"))
    made = task(str(path))
    if not said:
        made.check()
        return
    with pytest.raises(UserError, match=said.replace("f1_norm", "brier_score")):
        made.check()


def test_parts_are_the_tasks_own(home: Path) -> None:
    data = task(str(home / "mine.yaml")).load()
    assert data.source == f"mine of lm_eval ({COUNT} evaluation, 8 train)"
    assert data.training.validation.name == "1 texts of mine"
    assert data.training.train.columns[0][0].count("\n\n") >= 6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_task", "task.name: .*no_such_task"),
        ("{home}/none.yaml", "task.name: .*none.yaml"),
        (
            "{home}/free.yaml",
            "must be a task of multiple_choice or loglikelihood .* generate_until",
        ),
    ],
)
def test_other_tasks_are_refused(name: str, said: str, home: Path) -> None:
    text = (home / "words.yaml").read_text().replace("loglikelihood", "generate_until")
    (home / "free.yaml").write_text(text.split("metric_list")[0])
    with pytest.raises(UserError, match=said):
        task(name.format(home=home)).check()


@pytest.mark.parametrize("answer", [-1, 3, "nowhere"])
def test_an_answer_that_is_no_choice_is_refused(answer: object, home: Path) -> None:
    """As those of test splits whose labels are secret."""
    for name in ("train", "test"):
        path = home / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows if isinstance(answer, str) else ():
            row["answer"] = row["choices"][0]
        if name == "test":
            rows[4]["answer"] = answer
        path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=f"document 4 has the answer {answer!r}, expected one of"):
        task(str(home / "mine.yaml")).load()
