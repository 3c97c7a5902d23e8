"""How to use a model: the examples in its card, each of which runs as it stands."""

from __future__ import annotations

from compress.serve.folder import COMPILE, ROUNDED, TAGGERS, RunSpec, embeds
from compress.serve.texts import INPUTS, TOKENIZERS

FOLDER = "path/to/this/folder"
IMAGES = "ForImageClassification"
SEQUENCES = "ForSequenceClassification"
PAIR = 2  # texts of a row
# Of single texts and of pairs, as a pipeline of transformers takes them.
ROWS = ('["a text"]', '[{"text": "a text", "text_pair": "its second text"}]')

PLAIN = """from transformers import {processor}, {architecture}

model = {architecture}.from_pretrained("{folder}")
{name} = {processor}.from_pretrained("{folder}")"""
PIPELINE = """from transformers import pipeline

pipeline("text-classification", model="{folder}")({rows}, truncation=True)"""
TAG_PIPELINE = """from transformers import pipeline

pipeline("token-classification", model="{folder}", aggregation_strategy="first")(["a text"])"""
SENTENCES = """from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("{folder}").encode(["a text", "and another"])"""
SERVED = """import compress

model = compress.load("{folder}")  # checks every file's checksum first
{call}"""
ONNX = """import numpy, onnxruntime, tokenizers

tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")  # truncates and pads
session = onnxruntime.InferenceSession("model.onnx")
rows = tokenizer.encode_batch({rows})
names = {names}
inputs = {{n: numpy.array([getattr(row, a) for row in rows]) for n, a in names.items()}}
[{found}] = session.run(["logits"], inputs)"""
OPENVINO = """import numpy, openvino, tokenizers

tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")  # truncates and pads
settings = {{"INFERENCE_PRECISION_HINT": "{precision}", "DYNAMIC_QUANTIZATION_GROUP_SIZE": {group}}}
model = openvino.Core().compile_model("openvino_model.xml", "CPU", settings)
rows = tokenizer.encode_batch({rows})
names = {names}
inputs = {{n: numpy.array([getattr(row, a) for row in rows]) for n, a in names.items()}}
{found} = model(inputs)[0]"""
# Of the labels in config.json, with the temperature that `compress.load` applies.
PROBABILITIES = """
exponentials = numpy.exp(logits / {temperature!r})
probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)"""
# Example and packages by runtime; the names of its inputs are those of `tokenizers`' encodings.
OWN = {
    "onnxruntime": (ONNX, "onnxruntime, tokenizers and numpy"),
    "openvino": (OPENVINO, "openvino, tokenizers and numpy"),
}


def usage(spec: RunSpec, *, plain: bool, classes: bool, temperature: float | None) -> str:
    """Examples as Markdown: with transformers, with this package, or with the runtime's own.

    Args:
        spec: how the model is run.
        plain: whether transformers' own `from_pretrained` reads the folder.
        classes: whether it labels rows.
        temperature: of the probabilities of classes that exclude each other; null of other models.
    """
    architecture, images = spec.architecture, spec.architecture.endswith(IMAGES)
    if plain and embeds(architecture):
        return _python(SENTENCES)
    if plain:
        reader = "AutoImageProcessor" if images else "AutoTokenizer"
        name = "processor" if images else "tokenizer"
        parts = [_python(PLAIN, architecture=architecture, processor=reader, name=name)]
        if architecture.endswith(SEQUENCES):
            made = _python(PIPELINE, rows=ROWS[_pairs(spec)])
            parts += ["Or, for labels with scores that are not calibrated:", made]
        if architecture.endswith(TAGGERS):
            parts += ["Or, for entities:", _python(TAG_PIPELINE)]
        return "\n\n".join(parts)
    extra = f"serve-{spec.runtime}"
    parts = [
        f"With this package (`pip install 'compress[{extra}]'`):",
        _python(SERVED, call=_call(spec, classes)),
    ]
    if spec.runtime in OWN and spec.texts is not None and spec.texts.library == TOKENIZERS:
        example, packages = OWN[spec.runtime]
        example += "" if temperature is None else PROBABILITIES
        parts += [f"With {packages} alone, in this folder:", _own(example, spec, temperature)]
    return "\n\n".join(parts)


def _call(spec: RunSpec, classes: bool) -> str:
    if spec.texts is None:
        images = spec.architecture.endswith(IMAGES)
        if not images and not spec.options.get(COMPILE):
            return 'model.generate("Once upon a time", tokens=40)  # the greedy continuation'
        what = "[image]" if images else '["a text"]'
        return f'logits = model.predict(model.processor({what}, return_tensors="np"))'
    if spec.architecture.endswith(TAGGERS):
        return 'model.entities(["a text"])  # [[{"type": …, "text": …, "start": 0, "end": 3}]]'
    if embeds(spec.architecture):
        return 'vectors = model.embed(["a text", "and another"])'
    texts = '["a text"], ["its second text"]' if _pairs(spec) else '["a text"]'
    if classes:
        return f'model.classify({texts})  # [{{"label": …, "score": its probability}}]'
    return f"logits = model.logits({texts})"


def _pairs(spec: RunSpec) -> bool:
    return spec.texts is not None and spec.texts.columns == PAIR


def _own(example: str, spec: RunSpec, temperature: float | None) -> str:
    assert spec.texts is not None
    names = ", ".join(f'"{name}": "{INPUTS[name]}"' for name in spec.texts.inputs)
    precision = spec.option("precision")
    group = spec.options.get(ROUNDED) or 0
    rows = '[("a text", "its second text")]' if _pairs(spec) else '["a text", "and another"]'
    words = {"names": f"{{{names}}}", "precision": precision, "temperature": temperature}
    words |= {"rows": rows, "found": "vectors" if embeds(spec.architecture) else "logits"}
    return _python(example, group=group, **words)


def _python(example: str, **words: object) -> str:
    return f"```python\n{example.format(folder=FOLDER, **words)}\n```"
