"""What files on disk call classes, and that it does not change when a class moves."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from abc import ABC
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.config.settings import Settings
from compress.interfaces import CompressedModel, Runtime
from compress.store import kinds
from compress.store.artifact import load
from compress.transformer.stored_modules import StoredModule
from tests.configs import settings_of
from tests.tiny import torch_export

PACKED = [
    ("int8_dynamic", "int8"),
    ("int8_weight_only", "int4"),
    ("rtn", "none"),
    ("nf4", "int8"),
]
DOTTED = re.compile(r"\bcompress\.\w+[.\w]*")


def classes_of(base: Any) -> Iterator[Any]:
    """Every concrete class of the package with this base."""
    for info in pkgutil.walk_packages(compress.__path__, "compress."):
        for found in vars(importlib.import_module(info.name)).values():
            own = isinstance(found, type) and found.__module__ == info.name
            concrete = own and ABC not in found.__bases__ and not inspect.isabstract(found)
            if concrete and issubclass(found, base):
                yield found


@pytest.mark.parametrize(
    ("base", "table", "find"),
    [
        (Runtime, kinds.RUNTIMES, kinds.runtime_class),
        (StoredModule, kinds.MODULES, kinds.module_class),
    ],
)
def test_the_tables_name_every_class_once(
    base: Any, table: dict[str, str], find: Callable[[str], type]
) -> None:
    found = list(classes_of(base))
    assert sorted(each.kind for each in found) == sorted(table)
    for each in found:
        assert find(each.kind) is each


def test_no_two_settings_have_one_kind() -> None:
    """A cache key has the kind in the place of the class."""
    found = [each.kind for each in classes_of(Settings) if each is not Settings]
    assert sorted(found) == sorted(set(found))
    assert len(found) > 50


@pytest.mark.parametrize(("quantizer", "embeddings"), PACKED)
def test_a_packed_folder_is_read_after_its_classes_moved(
    quantizer: str,
    embeddings: str,
    teacher: CompressedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch_export(
        teacher, settings_of("quantizer", quantizer, f"quantizer.embeddings={embeddings}"), tmp_path
    )
    batch = teacher.tokenizer(["a fine film"], return_tensors="pt")
    expected = load(tmp_path).predict(batch)
    for table in (kinds.RUNTIMES, kinds.MODULES):
        for kind, path in table.items():
            module, _, name = path.rpartition(".")
            each = getattr(importlib.import_module(module), name)
            monkeypatch.setattr(each, "__module__", "compress.elsewhere")
            monkeypatch.setitem(table, kind, f"{__name__}.{name}")
            monkeypatch.setitem(globals(), name, each)
    assert torch.equal(load(tmp_path).predict(batch), expected)


@pytest.mark.parametrize(("quantizer", "embeddings"), PACKED)
def test_no_file_of_a_folder_names_a_module(
    quantizer: str, embeddings: str, teacher: CompressedModel, tmp_path: Path
) -> None:
    format_ = settings_of("quantizer", quantizer, f"quantizer.embeddings={embeddings}")
    torch_export(teacher, format_, tmp_path)
    for path in tmp_path.glob("*.json"):
        assert not DOTTED.search(path.read_text()), path
    assert json.loads((tmp_path / "runtime.json").read_text())["runtime"] == "torch"
