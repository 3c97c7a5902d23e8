"""Points grouped by super-net, runtime and format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.config.errors import ConfigError, UserError
from compress.frontier.assignments import Assignment, group_points, space_of
from compress.search.grammar import parse_space
from compress.search.plan import Plan
from tests.configs import TINY, compose_config

FIXED = (
    "+search=frontier", *TINY, "task.max_length=32", "device=cpu", "quantizer=int8_dynamic",
    "student.layers=2",
    "student.choices.depths=[1]", "student.choices.neurons=[32]", "student.shape.positions=32",
)  # fmt: skip


def grouped(space: dict[str, str], *fixed: str, lines: list[str] | None = None) -> list[Assignment]:
    goals: Any = None
    plan = Plan(parse_space(space), goals, (*FIXED, *fixed), {})
    report = [].append if lines is None else lines.append
    return group_points(plan, lambda words: compose_config(*words), report)


def test_points_of_a_format_are_together() -> None:
    formats = {"quantizer.embeddings": "choice(int8, int4)", "student.sub.depth": "choice(1, 2)"}
    found = grouped(formats)
    assert [each.name for each in found] == [
        "quantizer.embeddings=int8", "quantizer.embeddings=int4",
    ]  # fmt: skip
    assert [[sub.depth for sub in each.points] for each in found] == [[1, 2], [1, 2]]
    assert len({each.net for each in found}) == 1
    assert space_of(found).layers == (1, 2)


def test_a_size_that_is_no_dimension_counts() -> None:
    [found] = grouped({"student.sub.depth": "choice(1, 2)"}, "student.sub.neurons=32")
    assert [(sub.depth, sub.neurons) for sub in found.points] == [(1, 32), (2, 32)]
    assert space_of([found]).neurons == (32,)


def test_what_is_impossible_is_left_out_by_itself() -> None:
    lines: list[str] = []
    [found] = grouped({"student.sub.depth": "choice(5, 1, 2)"}, lines=lines)
    assert [sub.depth for sub in found.points] == [1, 2]
    [line] = lines
    assert line.startswith("left out: student.sub.depth=5: student.sub.depth must be one of 1, 2")


def test_formats_without_a_point_are_left_out_in_one_line() -> None:
    lines: list[str] = []
    formats = {"quantizer": "choice(int8_dynamic, int8_static)", "student.sub.depth": "choice(1,2)"}
    [found] = grouped(formats, lines=lines)
    assert found.name == "quantizer=int8_dynamic"
    assert [line.partition(": quantizer=int8_static is")[0] for line in lines] == [
        "left out: quantizer=int8_static"
    ]
    with pytest.raises(UserError, match="no point is possible: quantizer=int8_static is"):
        grouped({"student.sub.depth": "choice(1,2)"}, "quantizer=int8_static")


def test_super_nets_differ() -> None:
    found = grouped({"student.supernet.targets": "choice(teacher, largest)"})
    assert len({each.net for each in found}) == 2


@pytest.mark.parametrize(
    ("space", "fixed", "words"),
    [
        ({"student.sub.depth": "choice(1, 2)"}, "pruner=wanda", "needs pruner=none"),
        ({"seed": "choice(0, 1)"}, "seed=0", "takes settings of student, device, quantizer but"),
        ({"student.matching.method": "choice(logit, hidden)"}, "seed=0", "got student.matching.me"),
    ],
)
def test_what_no_score_or_cost_would_show_is_refused(
    space: dict[str, str], fixed: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        grouped(space, fixed)


def test_folds_are_refused_unless_one_is_selected(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 40)
    table = "task=csv", f"task.path={tmp_path / 'rows.csv'}", "task.split.folds=2"
    depths = {"student.sub.depth": "choice(1, 2)"}
    with pytest.raises(ConfigError, match=r"has one super-net, .* such as task\.split\.fold=1"):
        grouped(depths, *table)
    assert len(grouped(depths, *table, "task.split.fold=1")) == 1
