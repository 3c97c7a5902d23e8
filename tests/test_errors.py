"""Bad input gets one clear line, before any weight is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import HydraException
from transformers import LlamaConfig

from compress.build import build_run
from compress.cli import cross_choices, one_line
from compress.interfaces import CompressedModel
from compress.settings import UserError
from tests.checkpoints import small_tokenizer
from tests.configs import compose_config
from tests.tiny import tiny_image_model

STSB = "task=stsb task.path={tmp}/stsb objectives=[quality]"
LLAMA = "teacher.architecture=llama"
# Overrides → what the line must say. {tmp} is a folder with the files that `files` writes.
TABLE = [
    ("pruner=wandaa", "Could not find 'pruner/wandaa' Available options in 'pruner': chain"),
    ("quantizer=int4", "Could not find 'quantizer/int4' Available options in 'quantizer':"),
    ("prunner=wanda", "Did you mean: 'pruner'"),
    ("pruner=wanda pruner.sparsty=0.5", "Key 'sparsty' is not in struct. Did you mean: 'sparsity'"),
    ("pruner=wanda pruner.sparsity=half", "Wanda.sparsity must be a number, got 'half'"),
    ("pruner=wanda pruner.sparsity=null", "Wanda.sparsity must be a number, got None"),
    ("pruner=wanda pruner.sparsity=[0.5]", "Wanda.sparsity must be a number, got [0.5]"),
    ("pruner=wanda pruner.sparsity=1.0", "Wanda.sparsity must be in [0, 1), got 1.0"),
    ("pruner=wanda pruner.sparsity=-0.1", "Wanda.sparsity must be in [0, 1), got -0.1"),
    ("pruner=wanda pruner.sparsity=nan", "Wanda.sparsity must be in [0, 1), got nan"),
    ("pruner=magnitude pruner.sparsity=2", "Magnitude.sparsity must be in [0, 1), got 2.0"),
    ("pruner=magnitude pruner.threshold=row", "must be one of layer, global; got row"),
    ("pruner=wanda pruner.pattern=4:2", "Wanda.pattern must be N:M with 0 < N <= M"),
    ("pruner=wanda pruner.pattern=3:6 pruner.sparsity=0.5", "expected a multiple of 6"),
    ("pruner=wanda pruner.recovery.epochs=-1", "Training.epochs must be >= 0, got -1.0"),
    ("pruner=wanda pruner.recovery.alpha=1.1", "Distillation.alpha must be in [0, 1], got 1.1"),
    ("student=layers student.distillation.temperature=0", "temperature must be > 0, got 0.0"),
    ("student=layers student.distillation.temperature=-1", "temperature must be > 0, got -1.0"),
    ("student=layers student.distillation.alpha=-0.5", "alpha must be in [0, 1], got -0.5"),
    ("student=layers student.distillation.batch_size=0", "batch_size must be > 0, got 0"),
    ("student=layers student.distillation.batch_size=1.5", "batch_size must be an integer"),
    ("student=layers student.keep=5", "student.keep=5: the teacher has 4 layers"),
    ("student=layers student.keep=[0,4]", "student.keep=[0, 4]: the teacher has 4 layers"),
    ("student=layers student.keep=0", "student.keep must be at least 1 layer, got 0"),
    ("student=pretrained", "student: Missing mandatory value: student.path"),
    ("student=pretrained student.path={tmp}/nothing", "nothing is no folder"),
    ("student=pretrained student.path={tmp}/vit", "has texts, but ViTForImageClassification rea"),
    ("student=pretrained student.path={tmp}/empty", "holds no model: it has no config.json"),
    ("teacher=local", "teacher: Missing mandatory value: teacher.path"),
    ("teacher=local teacher.path=''", "teacher.path must be a folder or a hub id, got nothing"),
    ("teacher=local teacher.path={tmp}/empty", "holds no model: it has no config.json"),
    ("teacher=local teacher.path={tmp}/pickled", "holds no *.safetensors weights"),
    ("teacher=local teacher.path={tmp}/strange", "has no usable config"),
    ("teacher=local teacher.path={tmp}/untold", "untold holds no tokenizer (tokenizer.json, vocab"),
    ("student=pretrained student.path={tmp}/untold", "untold holds no tokenizer (tokenizer.json"),
    ("teacher=local teacher.path={tmp}/none.gguf", "none.gguf does not exist, or is no file"),
    ("teacher=artifact", "teacher: Missing mandatory value: teacher.folder"),
    ("teacher=artifact teacher.folder=''", "must be a model folder of ours, got nothing"),
    ("teacher=artifact teacher.folder={tmp}/empty", "is no model folder of ours: it has no manif"),
    ("teacher=bert_base", "google-bert/bert-base-uncased not found"),
    ("teacher.finetune.learning_rate=0", "Training.learning_rate must be > 0, got 0.0"),
    ("teacher.architecture=t5", "must be one of bert, distilbert, roberta, electra"),
    ("objectives=[beauty]", "objectives must be among quality, accuracy,"),
    ("objectives=[]", "got none"),
    ("objectives=[matthews]", "has matthews, but the task's scores are accuracy, f1_macro"),
    (
        "+search.objectives.perplexity=minimize",
        "search.objectives has perplexity, but the task's scores are accuracy",
    ),
    ("objectives=accuracy", "objectives must be a list such as"),
    ("interim=maybe", "interim must be true or false, got 'maybe'"),
    ("seed=-1", "seed must be an integer >= 0, got -1"),
    ("seed=one", "seed must be an integer >= 0, got 'one'"),
    ("device=cuda", "device=cuda: torch"),
    ("device.threads=0", "Cpu.threads must be > 0, got 0"),
    ("device.threads=4096", "device.threads must be at most"),
    ("device.benchmark.shapes=[]", "must name at least one [batch, length] pair"),
    ("device.benchmark.shapes=[[1]]", "Benchmark.shapes[0] must be a list of 2"),
    ("device.benchmark.shapes=[[1,1000]]", "has length 1000, the teacher takes at most 512"),
    ("task.source=web", "Reviews.source must be one of offline, hub; got web"),
    ("task.limit=0", "Reviews.limit must be > 0, got 0"),
    ("task.max_length=long", "Reviews.max_length must be an integer, got 'long'"),
    ("task.max_length=513", "task.max_length must be at most the 512 tokens that BertFor"),
    ("task.seed=-1", "Reviews.seed must be >= 0, got -1"),
    ("task=rte task.corpus=snli", "Glue.corpus must be one of sst2, cola, mrpc, qqp, rte, qnli"),
    ("task=sst2 task.path={tmp}/empty", "train.tsv does not exist; expected train.tsv and dev.tsv"),
    ("task=sst2 task.path={tmp}/csv", "has columns text,label; expected sentence, label"),
    ("task=csv", "task: Missing mandatory value: task.path"),
    ("task=csv task.path={tmp}/none.csv", "none.csv does not exist, or is no file"),
    ("task=csv task.path={tmp}/mine.csv task.label=x", "column 'x' is not among its columns: text"),
    ("task=csv task.path={tmp}/mine.csv task.folds=1", "Csv.folds must be >= 2, or null for none"),
    ("task=csv task.path={tmp}/mine.csv task.fold=2", "Csv.fold must be null without folds, got 2"),
    ("task=digits task.folds=3 task.fold=4", "Digits.fold must be from 1 to the 3 folds, got 4"),
    (
        "task=csv task.path={tmp}/mine.csv task.folds=5 task.evaluation_path={tmp}/mine.csv",
        "Csv.folds and evaluation_path exclude each other, got 5 and ",
    ),
    ("task=csv task.path={tmp}/mine.csv task.drop=[all]", "among empty, unlabelled, duplicates"),
    ("task=csv task.path={tmp}/mine.csv task.problem=ranking", "one of classification, regression"),
    ("task=csv task.path={tmp}/mine.csv task.label=[a,b]", "column 'a' is not among its columns"),
    ("task=csv task.path={tmp}/mine.csv task.label=[a]", "or a list of two or more, got a list of"),
    ("task=csv task.path={tmp}/mine.csv task.class_weights=even", "must be balanced, a list of nu"),
    ("task=stsb task.path={tmp}/csv", "has columns text,label; expected sentence1, sentence2, sc"),
    (STSB + " objectives=[accuracy]", "but the task's scores are spearman, pearson, root_mean_"),
    (
        STSB + " student=layers student.distillation.label_smoothing=0.1",
        "of LayersStudent must be 0",
    ),
    (
        STSB + " pruner=wanda pruner.recovery.label_smoothing=0.1",
        "label_smoothing of Wanda must be",
    ),
    (STSB + " pruner=chain pruner.recovery.label_smoothing=0.1", "the labels of Glue are numbers;"),
    ("task=digits", "the task Digits has images, but BertForSequenceClassification reads texts"),
    ("task=cifar10 task.path={tmp}/c.npz", "c.npz does not exist, or is no file"),
    ("task=imagefolder task.path={tmp}/none", "none is no folder"),
    ("task=wikitext2", "must be one of gpt2, llama, opt, gpt_neox for a language model, got bert"),
    ("task=wikitext2 {llama} task.path={tmp}", "train.txt does not exist, or is no file"),
    ("task=wikitext2 {llama} task.context=1", "WikiText2.context must be at least 2, got 1"),
    ("task=wikitext2 {llama} task.limit=1", "WikiText2.limit must be at least 2, got 1"),
    ("task=wikitext2 {llama} task.context=8 task.stride=9", "must be at most context=8, got 9"),
    (
        "task=wikitext2 {llama} task.context=513",
        "task.context must be at most the 512 tokens that LlamaForC",
    ),
    ("task=wikitext2 {llama} objectives=[accuracy]", "the task's scores are perplexity, bits_per"),
    ("task=textfile {llama}", "task: Missing mandatory value: task.path"),
    ("task=textfile {llama} task.path={tmp}/none.txt", "none.txt does not exist, or is no file"),
    ("task=textfile {llama} task.path=[]", "TextFile.path must be a file or several, got none"),
    ("task=textfile {llama} task.path=a task.evaluation_fraction=0.95", "must leave text to train"),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki pruner=vocabulary",
        "foretells other tokens than",
    ),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki student=pretrained student.path={tmp}/lm",
        "a student that is a language model needs the teacher's tokens, got 50 of them over 1000",
    ),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki device.benchmark.generation.prompt=500",
        "device.benchmark.generation has 500 + 64 tokens, the teacher takes at most 512",
    ),
    ("device.benchmark.generation.new_tokens=1", "GenerationLength.new_tokens must be at least 2"),
    ("task=wikitext2 teacher=vit_scratch", "classifies images, the task needs a language_model"),
    ("teacher=vit_scratch", "the task Reviews has texts, but ViTForImageClassification reads ima"),
    ("teacher=vit_base", "google/vit-base-patch16-224 not found"),
    ("cache=maybe", "Could not find 'cache/maybe'"),
    ("tracker=wandb", "Could not find 'tracker/wandb'"),
    ("tracker=mlflow tracker.uri=mlruns", "tracker.uri must be of a server or a database"),
    ("pruner._target_=os.system", "os.system"),
    ("pruner=wanda pruner.sparsity=2 quantizer._target_=x.y", "x.y"),
]


@pytest.fixture
def files(tmp_path: Path, teacher: CompressedModel) -> Path:
    for name in ("empty", "pickled", "strange", "csv"):
        (tmp_path / name).mkdir()
    teacher.module.config.save_pretrained(tmp_path / "pickled")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "strange" / "config.json").write_text('{"model_type": "abacus"}')
    (tmp_path / "strange" / "model.safetensors").write_bytes(b"")
    (tmp_path / "vit").mkdir()
    images = tiny_image_model("vit")
    images.module.config.save_pretrained(tmp_path / "vit")
    images.tokenizer.save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").write_bytes(b"")
    (tmp_path / "wiki").mkdir()
    for name in ("train", "valid", "test"):
        (tmp_path / "wiki" / f"{name}.txt").write_text("text")
    (tmp_path / "lm").mkdir()
    LlamaConfig(vocab_size=50).save_pretrained(tmp_path / "lm")
    small_tokenizer(frame=False).save_pretrained(tmp_path / "lm")
    (tmp_path / "untold").mkdir()
    teacher.module.config.save_pretrained(tmp_path / "untold")
    (tmp_path / "untold" / "model.safetensors").write_bytes(b"")
    (tmp_path / "lm" / "model.safetensors").write_bytes(b"")
    (tmp_path / "mine.csv").write_text("text,label\na,1\n")
    (tmp_path / "stsb").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "csv" / name).write_text("text,label\na,1\n")
        (tmp_path / "stsb" / name).write_text("sentence1\tsentence2\tscore\n")
    return tmp_path


@pytest.mark.parametrize(("overrides", "said"), TABLE)
def test_one_line_before_any_weight(
    overrides: str, said: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("weights were touched")

    for reader in ("safetensors.safe_open", "safetensors.torch.load_file", "torch.load"):
        monkeypatch.setattr(reader, forbidden)
    words = overrides.format(tmp=files, llama=LLAMA).split()
    with pytest.raises((UserError, HydraException)) as caught:
        build_run(compose_config("teacher=tiny_random", *words))
    line = one_line(caught.value)
    assert said in line
    assert "\n" not in line
    assert len(line) < 500


def test_every_wrong_group_is_named_at_once() -> None:
    cfg = compose_config("pruner=wanda", "pruner.sparsity=2", "device.threads=0", "task.limit=0")
    with pytest.raises(UserError) as caught:
        build_run(cfg)
    assert all(name in str(caught.value) for name in ("Wanda", "Cpu.threads", "Reviews.limit"))


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("-m pruner=a,b pruner.sparsity=0.5", "-m pruner=a,b pruner.sparsity=choice(0.5)"),
        ("-m pruner=a,b ++pruner.x.y=2:4", "-m pruner=a,b ++pruner.x.y=choice(2:4)"),
        (
            "-m pruner=a,b pruner.s=0.1,0.2 student.k=2",
            "-m pruner=a,b pruner.s=0.1,0.2 student.k=2",
        ),
        ("-m pruner=a pruner.sparsity=0.5", "-m pruner=a pruner.sparsity=0.5"),
        ("-m pruner=a,b ~pruner.sparsity", "-m pruner=a,b ~pruner.sparsity"),
        ("pruner=( pruner.sparsity=0.5", "pruner=( pruner.sparsity=0.5"),
    ],
)
def test_a_setting_of_a_swept_group_waits_for_the_jobs(given: str, passed_on: str) -> None:
    assert cross_choices(given.split()) == passed_on.split()
