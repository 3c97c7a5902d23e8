"""No number of any settings may be infinite or none: found in the code, field by field."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from abc import ABC
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
from omegaconf import OmegaConf

import compress
from compress.analysis.decision import Rule
from compress.config.construct import build, construct
from compress.config.errors import ConfigError, UserError
from compress.config.settings import Settings, within
from compress.costs.space import Costs
from compress.frontier.settings import Frontier
from compress.search.plan import read_settings
from compress.student.supernet import Supernet
from tests.configs import ROOT, compose_config, needed, settings_of

GROUPS = ("teacher", "student", "pruner", "quantizer", "task", "device", "cache", "tracker")
# Settings that no choice has by itself.
MORE = (
    ("student", "layers", ("+student/augmentation=word_noise",)),
    ("student", "layers", ("+student/augmentation=neighbors",)),
    ("task", "sst2", ("task/transfer=reviews",)),
    ("task", "sst2", ("task/transfer=textfile", "task.transfer.path=somewhere")),
    ("task", "sst2", ("task/transfer=csv", "task.transfer.path=somewhere")),
    ("task", "sst2", ("task/transfer=hub", "task.transfer.dataset=somewhere")),
    ("device", "cpu_onnxruntime", ()),
    ("device", "cpu_openvino", ()),
)


def one_of_each() -> list[tuple[str, str]]:
    """A choice of each class: composing one takes Hydra most of a tenth of a second."""
    found: dict[str, tuple[str, str]] = {}
    for group in GROUPS:
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            found.setdefault(OmegaConf.load(path)["_target_"], (group, path.stem))
    return list(found.values())


@functools.cache
def built() -> dict[type[Settings], Settings]:
    """One object of each class of settings that a config can construct."""
    search = compose_config("+search=pareto", "search.early_stopping={after:0.5,margin:0.1}")
    wholes: list[Settings] = [read_settings(search)]
    for group, name in one_of_each():
        wholes.append(settings_of(group, name, *needed(group, name)))
    wholes += [settings_of(group, name, *overrides) for group, name, overrides in MORE]
    wholes.append(construct(compose_config("+costs=default"), "costs", Costs))
    wholes.append(construct(compose_config(), "decision", Rule))
    staged = OmegaConf.to_container(compose_config("+search=frontier").search.frontier)
    wholes.append(build("search.frontier", Frontier, staged))
    student = settings_of("student", "supernet")
    own = {field.name: getattr(student, field.name) for field in fields(Supernet)}
    wholes.append(Supernet(**own))
    return {type(part): part for whole in wholes for _, part in within(whole, Settings, "")}


def every_class() -> set[type[Settings]]:
    modules = {module.name for module in walk_packages(compress.__path__, "compress.")}
    for name in modules:
        import_module(name)
    found, todo = set(), [Settings]
    while todo:
        todo += todo.pop().__subclasses__()
        found |= {each for each in todo if each.__module__ in modules}
    bases = {each for each in found if inspect.isabstract(each) or ABC in each.__bases__}
    return {each for each in found - bases if fields(each)}


def with_number(hint: Any, number: float, kinds: tuple[type, ...]) -> Iterator[Any]:
    """Values of a field's type that have this number in them, one for each place that takes one."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in kinds:
        yield number
    elif origin in (typing.Union, types.UnionType):
        for option in inner:
            yield from with_number(option, number, kinds)
    elif origin is tuple:
        for value in with_number(inner[0], number, kinds):
            yield (value,) if inner[-1] is ... else (value, *(1 for _ in inner[1:]))
    elif origin is dict:
        for value in with_number(inner[1], number, kinds):
            yield {"x": value}


def test_there_is_an_object_of_every_class() -> None:
    # Its base has no choice of its own, and no field that it does not hand on.
    assert {each.__name__ for each in every_class() - set(built())} == set()


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        pytest.param(math.nan, (int, float), id="nan"),
        pytest.param(math.inf, (int, float), id="inf"),
        pytest.param(-math.inf, (int, float), id="-inf"),
        pytest.param(-(10**400), (int, float), id="no float"),
        pytest.param(10**30, (int,), id="no integer of 64 bits"),
    ],
)
def test_every_number_is_refused_where_it_is_none(number: float, kinds: tuple[type, ...]) -> None:
    tried = 0
    for kind, whole in built().items():
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            hint = hints[field.name]
            if float not in kinds and "float" in str(hint):
                continue  # it may be large there
            for value in with_number(hint, number, kinds):
                tried += 1
                with pytest.raises(UserError) as caught:
                    replace(whole, **{field.name: value})
                assert field.name in str(caught.value)
                assert len(str(caught.value)) < 300
    assert tried > 50


def test_the_words_are_those_of_the_range_where_there_is_one() -> None:
    with pytest.raises(ConfigError, match=r"^pruner\.sparsity must be in \[0, 1\), got nan$"):
        settings_of("pruner", "wanda", "pruner.sparsity=nan")
