"""The files and the arguments of the commands in `tests/mistakes/`."""

from __future__ import annotations

from pathlib import Path

from transformers import BertConfig, LlamaConfig, ViTConfig, ViTImageProcessorPil

from tests.checkpoints import small_tokenizer

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
LLAMA = "teacher.architecture=llama"


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
    (tmp_path / "tags.conll").write_text("Ada\tB-person\nsang\tO\n")
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,score\na,b,1\n")
    (tmp_path / "beir").mkdir()
    (tmp_path / "beir" / "corpus.csv").write_text("_id,text\nd,a\n")
    (tmp_path / "beir" / "queries.csv").write_text("_id,text\nq,b\n")
    (tmp_path / "beir" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
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
