"""Mistakes on the command line of `run.py`, and the one line that each of them gets."""

from __future__ import annotations

from pathlib import Path

from transformers import BertConfig, LlamaConfig, ViTConfig, ViTImageProcessorPil

from tests.checkpoints import small_tokenizer

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
STSB = "task=stsb task.path={tmp}/stsb objectives=[quality]"
GROUPS = ("teacher", "student", "pruner", "quantizer", "task", "device", "cache", "tracker")
LLAMA = "teacher.architecture=llama"
# Arguments → what the line must say. {tmp} is a folder with the files of `write_files`.
TABLE = [
    ("pruner=wandaa", "pruner=wandaa is not available; did you mean pruner=wanda? Choices: chain,"),
    (
        "quantizer=int4",
        "quantizer=int4 is not available; did you mean quantizer=int4_weight_only? Choices:",
    ),
    ("task.split.folds=2", "task.split.folds is not a setting of the selected choices; `python"),
    (
        "device.benchmark.shapes=[[1,8],[1,8]]",
        "device.benchmark.shapes must differ, got [1, 8] twice",
    ),
    ("teacher=tiny_random teacher.heads=3", "teacher.heads must divide hidden=32, got 3"),
    (
        "teacher.finetune.batch_size=9223372036854775807",
        "teacher.finetune.batch_size must be in [1, 2147483647], got 9223372036854775807",
    ),
    (
        "teacher=tiny_random pruner=chain pruner.steps.neurons.round_to=999",
        "pruner.steps.neurons.round_to must be at most 64",
    ),
    ("pruner=gradual pruner.schedule.end=0", "pruner.schedule.start must be below end=0.0, got"),
    (
        "task=csv task.path={tmp}/mine.csv task.label=[label,label]",
        "task.label must name each column once, got label, label",
    ),
    ("prunner=wanda", "prunner is not a setting of the selected choices; did you mean pruner?"),
    (
        "pruner=wanda pruner.sparsty=0.5",
        "pruner.sparsty is not a setting of the selected choices; did you mean pruner.sparsity?",
    ),
    ("pruner=wanda pruner.sparsity=half", "pruner.sparsity must be a number, got 'half'"),
    ("pruner=wanda pruner.sparsity=null", "pruner.sparsity must be a number, got None"),
    ("pruner=wanda pruner.sparsity=[0.5]", "pruner.sparsity must be a number, got [0.5]"),
    ("pruner=wanda pruner.sparsity=1.0", "pruner.sparsity must be in [0, 1), got 1.0"),
    ("pruner=wanda pruner.sparsity=-0.1", "pruner.sparsity must be in [0, 1), got -0.1"),
    ("pruner=wanda pruner.sparsity=nan", "pruner.sparsity must be in [0, 1), got nan"),
    ("pruner=magnitude pruner.sparsity=2", "pruner.sparsity must be in [0, 1), got 2"),
    ("pruner=magnitude pruner.threshold=column", "must be one of row, layer, global; got column"),
    ("pruner=wanda pruner.pattern=4:2", "pruner.pattern must be N:M with 0 < N <= M"),
    ("pruner=wanda pruner.pattern=3:6 pruner.sparsity=0.5", "expected a multiple of 6"),
    ("pruner=wanda pruner.recovery.epochs=-1", "pruner.recovery.epochs must be >= 0, got -1"),
    ("pruner=wanda pruner.recovery.alpha=1.1", "pruner.recovery.alpha must be in [0, 1], got 1.1"),
    ("student=layers student.distillation.temperature=0", "temperature must be > 0, got 0"),
    ("student=layers student.distillation.temperature=-1", "temperature must be > 0, got -1"),
    ("student=layers student.distillation.alpha=-0.5", "alpha must be in [0, 1], got -0.5"),
    ("student=layers student.distillation.batch_size=0", "batch_size must be > 0, got 0"),
    ("student=layers student.distillation.batch_size=1.5", "batch_size must be an integer"),
    ("student=layers student.keep=5", "student.keep=5: the teacher has only 4 layers"),
    ("student=layers student.keep=[0,4]", "student.keep=[0, 4]: the teacher has only 4 layers"),
    ("student=layers student.keep=0", "student.keep must be at least 1 layer, got 0"),
    ("student=pretrained", "student: Missing mandatory value: student.path"),
    ("student=pretrained student.path={tmp}/nothing", "nothing is not a directory"),
    ("student=pretrained student.path={tmp}/vit", "has texts, but ViTForImageClassification rea"),
    ("student=pretrained student.path={tmp}/empty", "is not a model folder: it has no config.json"),
    ("teacher=local", "teacher: Missing mandatory value: teacher.path"),
    ("teacher=local teacher.path=''", "teacher.path must be a folder or a hub id, got nothing"),
    ("teacher=local teacher.path={tmp}/empty", "is not a model folder: it has no config.json"),
    ("teacher=local teacher.path={tmp}/pickled", "has no *.safetensors weights"),
    ("teacher=local teacher.path={tmp}/strange", "has no usable config"),
    ("teacher=local teacher.path={tmp}/untold", "untold holds no tokenizer (tokenizer.json, vocab"),
    ("student=pretrained student.path={tmp}/untold", "untold holds no tokenizer (tokenizer.json"),
    ("teacher=local teacher.path={tmp}/none.gguf", "none.gguf does not exist, or is not a file"),
    ("teacher=artifact", "teacher: Missing mandatory value: teacher.folder"),
    ("teacher=artifact teacher.folder=''", "must be a compress model folder, got nothing"),
    (
        "teacher=artifact teacher.folder={tmp}/empty",
        "is not a compress model folder: it has no manif",
    ),
    ("teacher=bert_base", "google-bert/bert-base-uncased not found"),
    ("teacher.finetune.learning_rate=0", "teacher.finetune.learning_rate must be > 0, got 0"),
    ("teacher.architecture=t5", "must be one of bert, distilbert, roberta, electra"),
    ("objectives=[beauty]", "objectives must be among quality, accuracy,"),
    ("objectives=[]", "got none"),
    ("objectives=[mcc]", "has mcc, but the task's scores are accuracy, f1_macro"),
    (
        "+search.objectives.perplexity=minimize",
        "search.objectives has perplexity, but the task's scores are accuracy",
    ),
    ("objectives=accuracy", "objectives must be a list such as"),
    ("measure_stages=maybe", "measure_stages must be true or false, got 'maybe'"),
    ("seed=-1", "seed must be an integer in [0, 4294967295], got -1"),
    ("seed=one", "seed must be an integer in [0, 4294967295], got 'one'"),
    ("seed=4294967296", "seed must be an integer in [0, 4294967295], got 4294967296"),
    ("seed=1e400", "seed must be an integer in [0, 4294967295], got inf"),
    ("seed=nan", "seed must be an integer in [0, 4294967295], got nan"),
    ("seed=true", "seed must be an integer in [0, 4294967295], got True"),
    ("seed=null", "seed must be an integer in [0, 4294967295], got None"),
    ("seed=1.0", "seed must be an integer in [0, 4294967295], got 1.0"),
    ("seed=" + 90 * "9", "seed must be an integer in [0, 4294967295], got " + 80 * "9" + "…"),
    ("~seed", "seed must be an integer in [0, 4294967295], got None"),
    ("device=cuda", "device=cuda: torch"),
    ("device.threads=0", "device.threads must be > 0 or null, got 0"),
    ("device.threads=4096", "device.threads must be at most"),
    ("device.benchmark.shapes=[]", "device.benchmark.shapes must be a list of one or more, got []"),
    ("device.benchmark.shapes=[[1]]", "device.benchmark.shapes[0] must be a list of 2"),
    ("device.benchmark.shapes=[[1,1000]]", "has length 1000, the teacher takes at most 512"),
    (  # RoBERTa counts positions from behind the number of its padding
        "teacher.architecture=roberta device.benchmark.shapes=[[1,512]]",
        "has length 512, the teacher takes at most 511",
    ),
    ("task.source=web", "task.source must be one of offline, hub; got web"),
    ("task.limit=0", "task.limit must be > 0 or null, got 0"),
    ("task.max_length=long", "task.max_length must be an integer, got 'long'"),
    ("task.max_length=513", "task.max_length must be at most the 512 tokens that BertFor"),
    ("task.seed=-1", "task.seed must be in [0, 4294967295], got -1"),
    ("task.seed=4294967296", "task.seed must be in [0, 4294967295], got 42949672"),
    ("task.limit=1" + 30 * "0", "task.limit must be an integer of 64 bits, got 1000000"),
    ("device.benchmark.seconds=nan", "device.benchmark.seconds must be > 0, got nan"),
    ("device.benchmark.seconds=inf", "device.benchmark.seconds must be > 0, got inf"),
    ("device.benchmark.seconds=1" + 400 * "0", "device.benchmark.seconds must be > 0, got 100000"),
    ("teacher.finetune.epochs=1e400", "teacher.finetune.epochs must be >= 0, got inf"),
    ("task=rte task.corpus=snli", "task.corpus must be one of sst2, cola, mrpc, qqp, rte, qnli"),
    ("task=sst2 task.path={tmp}/empty", "train.tsv does not exist; expected train.tsv and dev.tsv"),
    ("task=sst2 task.path={tmp}/csv", "has columns text,label; expected sentence, label"),
    ("task=csv", "task: Missing mandatory value: task.path"),
    ("task=csv task.path={tmp}/none.csv", "none.csv does not exist or is not a file"),
    ("task=csv task.path={tmp}/mine.csv task.label=x", "column 'x' is not among its columns: text"),
    (
        "task=csv task.path={tmp}/mine.csv task.split.folds=1",
        "task.split.folds must be in [2, 10000] or null, got 1",
    ),
    (
        "task=csv task.path={tmp}/mine.csv task.split.fold=2",
        "task.split.fold must be null without folds, got 2",
    ),
    (
        "task=digits task.split.folds=3 task.split.fold=4",
        "task.split.fold must be from 1 to the 3 folds, got 4",
    ),
    (
        "task=csv task.path={tmp}/mine.csv task.split.folds=5 "
        "task.split.evaluation_path={tmp}/mine.csv",
        "task.split.folds and evaluation_path exclude each other, got 5 and ",
    ),
    ("task=csv task.path={tmp}/mine.csv task.drop=[all]", "one of empty, unlabeled, duplicates"),
    ("task=csv task.path={tmp}/mine.csv task.problem=ranking", "must be classification, "),
    ("task=csv task.path={tmp}/mine.csv task.label=[a,b]", "column 'a' is not among its columns"),
    ("task=csv task.path={tmp}/mine.csv task.label=[a]", "or a list of two or more, got a list of"),
    ("task=csv task.path={tmp}/mine.csv task.class_weights=even", "must be balanced, a list of nu"),
    ("task=stsb task.path={tmp}/csv", "has columns text,label; expected sentence1, sentence2, sc"),
    (STSB + " objectives=[accuracy]", "but the task's scores are spearman, pearson, rmse"),
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
    ("task=cifar10 task.path={tmp}/c.npz", "c.npz does not exist or is not a file"),
    ("task=imagefolder task.path={tmp}/none", "none is not a directory"),
    ("task=wikitext2", "must be one of gpt2, llama, opt, gpt_neox for a language model, got bert"),
    ("task=wikitext2 {llama} task.path={tmp}", "train.txt does not exist or is not a file"),
    ("task=wikitext2 {llama} task.context=1", "task.context must be >= 2 or null, got 1"),
    ("task=wikitext2 {llama} task.limit=1", "task.limit must be >= 2 or null, got 1"),
    ("task=wikitext2 {llama} task.context=8 task.stride=9", "must be at most context=8, got 9"),
    (
        "task=wikitext2 {llama} task.context=513",
        "task.context must be at most the 512 tokens that LlamaForC",
    ),
    ("task=wikitext2 {llama} objectives=[accuracy]", "the task's scores are perplexity, bits_per"),
    ("task=textfile {llama}", "task: Missing mandatory value: task.path"),
    ("task=textfile {llama} task.path={tmp}/none.txt", "none.txt does not exist or is not a file"),
    ("task=textfile {llama} task.path=[]", "task.path must be a file or several, got none"),
    (
        "task=textfile {llama} task.path=a task.split.evaluation_fraction=0.95",
        "must leave rows to train",
    ),
    ("task=wikitext2 {llama} task.path={tmp}/wiki pruner=vocabulary", "predicts other tokens than"),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki student=pretrained student.path={tmp}/lm",
        "a student that is a language model needs the teacher's tokens, got 50 of them over 1000",
    ),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki device.benchmark.generation.prompt=500",
        "device.benchmark.generation has 500 + 64 tokens, the teacher takes at most 512",
    ),
    (
        "device.benchmark.generation.new_tokens=1",
        "device.benchmark.generation.new_tokens must be >= 2, got 1",
    ),
    ("task=wikitext2 teacher=vit_scratch", "classifies images, the task needs a language_model"),
    ("teacher=vit_scratch", "the task Reviews has texts, but ViTForImageClassification reads ima"),
    ("teacher=vit_base", "google/vit-base-patch16-224 not found"),
    ("cache=maybe", "cache=maybe is not available; choices: off, on"),
    ("tracker=wandb", "tracker=wandb is not available; choices:"),
    ("tracker=mlflow tracker.uri=mlruns", "tracker.uri must be of a server or a database"),
    ("pruner._target_=os.system", "such as compress.pruner.wanda.Wanda; got 'os.system"),
    ("pruner=wanda pruner.sparsity=2 quantizer._target_=x.y", "got 'x.y'"),
    ("pruner._target_=compress.pruner.wandaa.Wanda", "compress.pruner.wandaa, which does not ex"),
    ("pruner._target_=compress.pruner.wanda.W", "compress.pruner.wanda has no W"),
    ("pruner._target_=compress.pruner.wanda.dataclass", "has no class of settings dataclass"),
    ("pruner._target_=compress.interfaces.Pruner", "pruner (Pruner) is abstract"),
    ("pruner._target_=compress.quantizer.none.NoQuantizer", "must be a Pruner, got NoQuantizer"),
    ("pruner._target_=3", "got 3"),
    ("pruner._target_=null", "got None"),
    ("~pruner._target_", "pruner must be a Pruner, got settings without _target_"),
    ("pruner=wanda +pruner.foo=1", "pruner (Wanda) has no setting foo; its settings: "),
    ("pruner=wanda +pruner._partial_=true", "pruner (Wanda) has no setting _partial_"),
    ("pruner=wanda +pruner._args_=[1]", "pruner (Wanda) has no setting _args_"),
    ("pruner=wanda ~pruner.sparsity", "pruner (Wanda) lacks a value for sparsity"),
    ("pruner=wanda pruner.recovery=null", "pruner.recovery must be a Distillation, got None"),
    ("pruner=wanda ~pruner.recovery._target_", "pruner.recovery must be a Distillation, got {'"),
    ("pruner=wanda +pruner.recovery.foo=1", "pruner.recovery (Distillation) has no setting foo"),
    ("device.runtime=null", "device.runtime must be a Runtime, got None"),
    ("device.runtime=3", "device.runtime must be a Runtime, got 3"),
    ("pruner=null", "pruner must be one of chain, gradual, heads"),
    ("task=null", "must be one of cifar10, cola, csv"),
    ("teacher=3", "teacher must be one of artifact,"),
    ("cache=true", "cache must be one of off, on; got cache=true"),
    ("pruner={a:1}", "wanda; got pruner={a:1}"),
    *((f"~{group}", f"{group} must be a choice, got None") for group in GROUPS),
    ("~objectives", "objectives must be a list such as"),
    ("objectives=[nan]", "got nan"),
    ("objectives=[quality,quality]", "objectives must differ, got quality twice"),
    ("~measure_stages", "measure_stages must be true or false, got None"),
    ("pruner=wanda pruner.recovery.epochs=${foo}", "recovery.epochs: Interpolation key 'foo'"),
    ("seed=${seed}", "seed: Recursive interpolation detected"),
    ("+a=${b} +b=${a}", "Recursive interpolation detected"),
    ("+a=${oc.env:THERE_IS_NONE}", "Environment variable 'THERE_IS_NONE' not found"),
    ("+a=${sum:1}", "Unsupported interpolation type sum"),
    ("+a=${b", "Error when parsing index: "),
    ("hydra.run.dir={tmp}/mine.csv", "mine.csv is not a directory"),
    ("hydra.run.dir={tmp}/mine.csv/x", "mine.csv/x: Not a directory"),
    ("hydra.run.dir=/proc/x", "/proc/x: No such file or directory"),
    ("hydra.run.dir=null", "hydra.run.dir"),
    ("hydra.run.dir={tmp}", "hydra.run.dir: "),
    ("cache.dir={tmp}", "cache.dir"),
    ("cache.dir={tmp}/mine.csv", "cache.dir"),
    ("cache.dir={tmp}/mine.csv/x", "cache.dir"),
    ("cache.dir=''", "cache.dir"),
    ("hydra.verbose=3", "Hydra rejects this command line: AssertionError"),
    ("hydra.mode=both", "Invalid hydra.mode 'both'"),
    ("hydra/launcher=none", "hydra/launcher=none is not available; choices:"),
    ("seed=0,1", "Ambiguous value for argument 'seed=0,1'"),
    ("pruner=wanda,magnitude", "Ambiguous value for argument 'pruner=wanda,magnitude'"),
    ("seed", "missing EQUAL"),
    ("=", "Could not override ''"),
    ("pruner=", "pruner= is not available; choices:"),
    ("+pruner.sparsity", "missing EQUAL"),
    ("--none", "unrecognized arguments: --none"),
    ("--config-name", "argument --config-name/-cn: expected one argument"),
    ("--config-name=other", "Cannot find primary config 'other'"),
    ("--config-dir=/none", "directory '/none' not found"),
    ("--config-dir={tmp}/yaml pruner=damaged", "damaged.yaml"),
    ("--multirun --cfg=job", "Only one of --run, --multirun, --cfg"),
    ("-m seed=range(0,0)", "seed=range(0,0) is an empty sweep"),
    ("-m pruner=glob(x*)", "pruner=glob(x*) is an empty sweep"),
    ("-m pruner=wanda,null", "pruner must be one of chain, gradual, heads"),
    ("-m hydra.sweep.dir={tmp}/mine.csv", "mine.csv is not a directory"),
    ("-m +experiment=none", "experiment=none is not available; choices:"),
    ("-m hydra/sweeper=rows", "hydra/sweeper=rows needs an experiment"),
    ("-m hydra/sweeper=pareto", "hydra/sweeper=pareto needs a search"),
    ("-m +search=pareto hydra.sweeper.n_trials=nan", "n_trials must be an integer >= 1, got nan"),
    ("-m +search=pareto hydra.sweeper.max_hours=inf", "max_hours must be a number >= 0, got inf"),
    (
        "-m +search=pareto search.sampler.seed=-1",
        "search.sampler.seed must be in [0, 4294967295], got -1",
    ),
    ("-m +search=pareto search.workers=2 device.threads=a", "device.threads must be an integer"),
]


def write_files(tmp_path: Path) -> None:
    """What the table's paths point to."""
    for name in ("empty", "pickled", "strange", "csv"):
        (tmp_path / name).mkdir()
    BertConfig(**SIZES).save_pretrained(tmp_path / "pickled")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "strange" / "config.json").write_text('{"model_type": "abacus"}')
    (tmp_path / "strange" / "model.safetensors").write_bytes(b"")
    (tmp_path / "vit").mkdir()
    ViTConfig(**SIZES).save_pretrained(tmp_path / "vit")
    ViTImageProcessorPil().save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").write_bytes(b"")
    (tmp_path / "yaml" / "pruner").mkdir(parents=True)
    (tmp_path / "yaml" / "pruner" / "damaged.yaml").write_text("a: [1\nb: }")
    (tmp_path / "wiki").mkdir()
    for name in ("train", "valid", "test"):
        (tmp_path / "wiki" / f"{name}.txt").write_text("text")
    (tmp_path / "lm").mkdir()
    LlamaConfig(vocab_size=50, **SIZES).save_pretrained(tmp_path / "lm")
    small_tokenizer(frame=False).save_pretrained(tmp_path / "lm")
    (tmp_path / "untold").mkdir()
    BertConfig(**SIZES).save_pretrained(tmp_path / "untold")
    (tmp_path / "untold" / "model.safetensors").write_bytes(b"")
    (tmp_path / "lm" / "model.safetensors").write_bytes(b"")
    (tmp_path / "mine.csv").write_text("text,label\na,1\n")
    (tmp_path / "stsb").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "csv" / name).write_text("text,label\na,1\n")
        (tmp_path / "stsb" / name).write_text("sentence1\tsentence2\tscore\n")


def arguments(words: str, folder: Path) -> list[str]:
    """What the command gets, with folders of its own beside the files where it names none."""
    given = [each.replace("{tmp}", str(folder)).replace("{llama}", LLAMA) for each in words.split()]
    out = "hydra.sweep.dir" if "-m" in given else "hydra.run.dir"
    places = {out: f"{out}={folder / 'out'}", "cache": f"cache.dir={folder / 'cache'}"}
    own = [word for key, word in places.items() if not any(key in each for each in given)]
    return ["teacher=tiny_random", *own, *given]
