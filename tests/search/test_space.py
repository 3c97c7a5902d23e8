from __future__ import annotations

import optuna
import pytest

from compress.config.errors import ConfigError
from compress.search.grammar import parse_space
from compress.search.space import overrides_of, point_key

CONDITIONAL = {
    "pruner.sparsity": {"space": "choice(0.3, 0.5)", "when": {"pruner": ["wanda", "heads"]}},
    "pruner": "choice(none, wanda, heads)",
    "quantizer": "choice(none, int8_dynamic)",
}


def test_points_of_a_conditional_space_are_listed_each_once() -> None:
    points = list(parse_space(CONDITIONAL).points() or ())
    # 2 formats × (none + 2 pruners × 2 sparsities).
    assert len(points) == 10
    assert len({point_key(point) for point in points}) == 10
    assert all(("pruner.sparsity" in point) == (point["pruner"] != "none") for point in points)


def test_a_draw_sets_what_is_active_and_nothing_else() -> None:
    space = parse_space(CONDITIONAL)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {point_key(space.draw(study.ask())) for _ in range(100)}
    assert drawn == {point_key(point) for point in space.points() or ()}


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("choice(a, b)", ["a", "b"]),
        ("a,b", ["a", "b"]),
        ("choice([1,2], [3,4])", ["[1,2]", "[3,4]"]),
        ("range(1, 4)", [1, 2, 3]),
        ("range(2, 9, step=3)", [2, 5, 8]),
        ("int(interval(1, 3))", [1, 2, 3]),
        ("range(0.1, 0.4, step=0.1)", ["0.1", "0.2", "0.3"]),
        (
            {"permutations": ["a", "b", "c"]},
            ["[a,b,c]", "[a,c,b]", "[b,a,c]", "[b,c,a]", "[c,a,b]", "[c,b,a]"],
        ),
    ],
)
def test_values_are_hydras(entry: object, values: list[object]) -> None:
    points = parse_space({"x.y": entry}).points()
    assert points is not None
    assert [overrides_of(point)[0] for point in points] == [f"x.y={value}" for value in values]


@pytest.mark.parametrize("text", ["interval(0.0, 1.0)", "tag(log, interval(1e-5, 1e-3))"])
def test_intervals_have_no_end_of_points(text: str) -> None:
    assert parse_space({"x.y": text}).points() is None


def test_logarithmic_dimensions_say_so() -> None:
    space = parse_space(
        {"a.b": "tag(log, interval(1e-5, 1e-3))", "c.d": "tag(log,int(interval(1,64)))"}
    )
    assert space.describe() == {
        "a.b": "tag(log, interval(1e-05, 0.001))",
        "c.d": "tag(log, int(interval(1, 64)))",
    }


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a": "3"}, "must be choice"),
        ({"a": "choice(1, "}, "cannot be read"),
        ({"a": "range(3, 3)"}, "empty range"),
        ({"a": "interval(3, 1)"}, "cannot be read"),
        ({"a": {"when": {}}}, "must have space or permutations"),
        ({"a": {"space": "choice(1,2)", "wenn": {}}}, "got space, wenn"),
        (
            {"a.b": {"space": "choice(1,2)", "when": {"c": ["x"]}}},
            "names c, which is not a dimension",
        ),
        (
            {
                "a.b": {"space": "choice(1,2)", "when": {"c.d": ["1"]}},
                "c.d": {"space": "choice(1,2)", "when": {"a.b": ["1"]}},
            },
            "conditions form a cycle",
        ),
        (
            {"c": "choice(x, y)", "a.b": {"space": "choice(1,2)", "when": {"c": ["z"]}}},
            "c=z must be in choice",
        ),
        ({"a": {"permutations": ["one"]}}, "2 to 5 different things"),
        ({"a": {"permutations": list("abcdef")}}, "2 to 5 different things"),
    ],
)
def test_what_is_no_space_is_refused(entries: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_space(entries)


def test_settings_go_to_the_choices_that_have_them() -> None:
    space = parse_space({"pruner": "choice(none, wanda)", "pruner.sparsity": "interval(0.1, 0.9)"})
    bound = space.restricted(lambda group, choice, key: choice == "wanda")
    assert bound.dimensions[1].when == {"pruner": ("wanda",)}
    assert "when pruner in wanda" in bound.describe()["pruner.sparsity"]
    with pytest.raises(ConfigError, match="no choice of pruner among none, wanda has it"):
        space.restricted(lambda *_: False)


def test_settings_that_no_choice_has_are_found() -> None:
    entries = {"pruner": "choice(none, heads)", "pruner.x": "choice(1, 2)", "seed": "choice(0, 1)"}
    entries |= {"quantizer.rest": "choice(a, b)", "task.limit": "choice(1, 2)"}
    entries |= {"pruner.sparsity": "choice(0.1, 0.2)", "quantizer.bits": "choice(4, 8)"}
    space = parse_space(entries)
    has = {("heads", "pruner.sparsity"), ("int4", "quantizer.bits"), ("glue", "task.limit")}
    choices = {"quantizer": "int4", "task": "glue"}
    nested = {"task/transfer": "choice(csv, hub)", "task.transfer.path": "choice(a, b)"}
    assert not dict(parse_space(nested).lacking({"task": "glue"}, lambda *_: False))
    lacking = dict(space.lacking(choices, lambda _, *which: which in has))
    assert lacking == {"pruner.x": ("none", "heads"), "quantizer.rest": ("int4",)}
    left = space.without(lacking)
    assert {each.key for each in left.dimensions} == entries.keys() - lacking.keys()


def test_a_condition_on_a_choice_without_the_setting_is_refused() -> None:
    entries = {"pruner": "choice(none, wanda)", "pruner.sparsity": {"space": "choice(0.1, 0.2)"}}
    entries["pruner.sparsity"]["when"] = {"pruner": ["none"]}  # type: ignore[index]
    with pytest.raises(ConfigError, match="pruner=none has no such key"):
        parse_space(entries).restricted(lambda group, choice, key: choice == "wanda")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pruner": "wanda"}, "lacks pruner.sparsity"),
        ({"pruner": "none", "pruner.sparsity": 0.3}, "sets pruner.sparsity, not active there"),
        ({"pruner": "wanda", "pruner.sparsity": 0.4}, "must be in choice"),
        ({"pruner": "lowrank"}, "must be in choice"),
    ],
)
def test_points_that_are_written_down_are_checked(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_space(CONDITIONAL).parse_point({"quantizer": "none", **values})


def test_numbers_that_are_written_down_are_checked() -> None:
    space = parse_space({"a.b": "range(0.1, 0.4, step=0.1)", "a.c": "int(interval(1, 3))"})
    assert space.parse_point({"a.b": 0.3, "a.c": 2}) == {"a.b": 0.3, "a.c": 2}
    for wrong in ({"a.b": 0.25, "a.c": 2}, {"a.b": 0.3, "a.c": 4}, {"a.b": "x", "a.c": 2}):
        with pytest.raises(ConfigError, match=r"must be in|is not a number"):
            space.parse_point(wrong)
