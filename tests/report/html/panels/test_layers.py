from __future__ import annotations

import pytest

from compress.records.schema import LayerWeights
from compress.report.html.panels.layers import UNTOUCHED, Left, kinds, layers, what_is_left
from tests.report.html.panels.drawn import columns, legend, plots
from tests.report.records import bert_layers, plain, section_of, with_layers

WEIGHT = LayerWeights("layer.3.key.weight", (6, 4), 0)


@pytest.mark.parametrize(
    ("ours", "left"),
    [
        pytest.param([LayerWeights(WEIGHT.name, (6, 4), 12)], (0.5, 1.0, 1.0, 1.0), id="zeros"),
        pytest.param([LayerWeights(WEIGHT.name, (3, 4), 0)], (0.0, 0.5, 1.0, 1.0), id="rows"),
        pytest.param([LayerWeights(WEIGHT.name, (6, 1), 0)], (0.0, 1.0, 0.25, 1.0), id="columns"),
        pytest.param(
            [LayerWeights(WEIGHT.name, (4, 6), 0)], (0.0, 1.0, 1.0, 1.0), id="stored transposed"
        ),
        pytest.param(
            [LayerWeights(WEIGHT.name, (12, 1), 6)], (0.5, None, None, 1.0), id="packed otherwise"
        ),
        pytest.param(
            [
                LayerWeights("layer.3.key.down.weight", (2, 4), 1),
                LayerWeights("layer.3.key.up.weight", (6, 2), 4),
            ],
            (0.25, 1.0, 1.0, 0.5),
            id="rank",
        ),
    ],
)
def test_what_is_left_of_a_weight(ours: list[LayerWeights], left: tuple[float | None, ...]) -> None:
    assert what_is_left(ours, [WEIGHT]) == [Left(3, "key", dict(zip(UNTOUCHED, left, strict=True)))]


def test_a_weight_that_the_teacher_lacks_has_its_zeros_alone() -> None:
    [left] = what_is_left([WEIGHT], [])
    assert list(left.shares.values()) == [0.0, None, None, 1.0]


def test_modules_that_are_called_up_and_down_are_no_pair() -> None:
    pair = [LayerWeights(f"layer.0.mlp.{end}.weight", (4, 4), 0) for end in ("up", "down")]
    assert [each.kind for each in what_is_left(pair, pair)] == ["mlp.up", "mlp.down"]


def test_weights_outside_of_numbered_layers_are_passed_over() -> None:
    assert what_is_left([LayerWeights("pooler.weight", (4, 4), 0)], []) == []


def test_kinds_are_the_shortest_names_that_tell_weights_apart() -> None:
    paths = ["attention.self.query", "attention.output.dense", "output.dense", "mlp.up_proj"]
    assert list(kinds(paths).values()) == ["query", "attention.output", "output", "up_proj"]


def uneven(zeros: float) -> tuple[LayerWeights, ...]:
    """Zeros in the second layer alone."""
    first, second = bert_layers(), bert_layers(zeros=zeros)
    return (*first[: len(first) // 2], *second[len(second) // 2 :])


def test_charts_are_those_in_which_something_shows() -> None:
    zeros = with_layers(plain(0.9, 1000), uneven(0.5))
    narrow = with_layers(plain(0.8, 500), bert_layers(neurons=16))
    same = with_layers(plain(0.7, 300), bert_layers())
    found = plots(layers(section_of(zeros, narrow, same)))
    assert [(plot.title.text, plot.yaxis[0].axis_label) for plot in found] == [
        ("#0 wanda sparsity=0.5", "zeros"), ("#1 wanda sparsity=0.5", "rows kept"),
        ("", "columns kept"),
    ]  # fmt: skip
    assert legend(found[0]) == [
        "query", "key", "value", "attention.output", "intermediate", "output",
    ]  # fmt: skip
    assert columns(found[0], "layer", "share") == [[0, 1], [0.0, 0.5]]


def test_what_is_the_same_in_all_layers_is_said_in_words() -> None:
    even = with_layers(plain(0.9, 1000), bert_layers(zeros=0.5))
    panel = layers(section_of(even))
    assert panel is not None
    assert panel.drawing is None
    assert panel.words == "#0 wanda sparsity=0.5: zeros 50% in each weight."
    beside = layers(section_of(even, with_layers(plain(0.8, 500), uneven(0.75))))
    assert beside is not None
    assert panel.words in beside.words
    assert [plot.title.text for plot in plots(beside)] == ["#1 wanda sparsity=0.5"]


def test_nothing_is_drawn_where_nothing_shows() -> None:
    assert layers(section_of(with_layers(plain(), bert_layers()))) is None
    rounded = [LayerWeights(e.name, e.shape, 9) for e in bert_layers(width=12, heads=12)]
    assert layers(section_of(with_layers(plain(), rounded, rounded))) is None, "9 of 144 or more"
    dominated = with_layers(plain(0.5, 1999, 1.0), bert_layers(zeros=0.5))
    assert layers(section_of(dominated, with_layers(plain(), bert_layers()))) is None


def test_of_a_long_front_four_models_are_drawn_and_it_is_said() -> None:
    front = [with_layers(plain(0.6 + i / 100, 100 + i), uneven(0.5)) for i in range(6)]
    panel = layers(section_of(*front))
    assert panel is not None
    assert len(plots(panel)) == 4
    assert "4 of 6 models" in panel.words
