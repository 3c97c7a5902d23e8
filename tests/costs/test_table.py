"""Predictions from the samples of a made-up machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from compress.config.errors import ConfigError
from compress.costs.facts import Facts, code_bytes
from compress.costs.family import Family
from compress.costs.samples import Sample, Samples, samples_file
from compress.costs.space import Sizes, Space, plan
from compress.costs.table import Pair, Table
from compress.costs.targets import Targets, candidates, parse_targets
from compress.quantizer.bf16 import Bf16
from compress.stage.run import Run
from tests.costs.made import run_of, space

SPACE = space(
    layers=(1, 2, 3), hidden=(None, 24), heads=(None, 1), neurons=(None, 40),
    embedding=(None, 8), activation=(None, "relu"), vocabulary=(None, 300),
)  # fmt: skip
TEACHER_MS = (10.0, 100.0)
TEACHER_BYTES = 1_000_000


def milliseconds(facts: Facts, tokens: int) -> float:
    """Of a batch of so many tokens."""
    matrices = facts["projections"] + facts["feed_forward"] / 2
    neurons = 3 * facts.get("neurons of gelu", 0) + facts.get("neurons of relu", 0)
    per_token = 1e-4 * matrices + 1e-3 * facts["stream"] + 2e-3 * neurons + 2e-4 * facts["factors"]
    return 0.2 + 0.05 * facts["layers"] + 0.01 * facts["heads"] + tokens * per_token / 8


def size(facts: Facts, run: Run, processor: int) -> int:
    rest = 500 + 90 * facts["layers"] + 4 * facts["linear_rows"] + 4 * facts["rest"]
    return round(processor + code_bytes(facts, run.quantizer) + rest)


def made_table(tmp_path: Path, count: int = 40, found: Space = SPACE) -> Table:
    """A table of a machine; while a sample was measured the machine was slower or faster."""
    run = run_of(tmp_path, "quantizer=int8_weight_only")
    family, samples = Family(run, found), []
    for number, sizes in enumerate(islice(plan(found, 0), count)):
        facts = family.facts(sizes)
        mood = 1 + 0.1 * (number % 3 - 1)
        processor = 10_000 if sizes.vocabulary is None else 3_000
        samples.append(
            Sample(
                sizes,
                dict(facts),
                tuple(t / milliseconds(facts, n) for t, n in zip(TEACHER_MS, (8, 64), strict=True)),
                tuple(mood * t for t in TEACHER_MS),
                size(facts, run, processor),
                processor,
            )
        )
    pair = Pair("cpu/int8", run, Samples({}, TEACHER_BYTES, tuple(samples)))
    return Table(family, {"cpu/int8": pair}, {})


def test_a_made_up_machine_is_predicted(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    [pair] = table.pairs.values()
    measured = {sample.sizes for sample in pair.samples.found}
    others = [sizes for sizes in SPACE.grid() if sizes not in measured]
    assert len(others) > 50
    for sizes in others:
        facts = table.family.facts(sizes)
        found = table.predict(sizes, pair.run.device.runtime, pair.run.quantizer)
        truth = milliseconds(facts, 8), milliseconds(facts, 64)
        assert found.latency_ms == pytest.approx(truth, rel=1e-6)
        ratios = [t / ms for t, ms in zip(TEACHER_MS, truth, strict=True)]
        assert found.speedup == pytest.approx(ratios, rel=1e-6)
        processor = 10_000 if sizes.vocabulary is None else 3_000
        assert found.size_bytes == pytest.approx(size(facts, pair.run, processor), rel=1e-5)
        assert found.smaller == pytest.approx(TEACHER_BYTES / found.size_bytes)
        assert max(*found.speedup_error, found.size_error) < 1e-5


def test_a_table_that_predicts_badly_says_so(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    assert table.doubt() == ""
    pair = table.pairs["cpu/int8"]
    busy = tuple(
        replace(each, speedup=tuple(ratio * (5.0 if number % 2 else 1.0) for ratio in each.speedup))
        for number, each in enumerate(pair.samples.found)
    )
    pair = replace(pair, samples=replace(pair.samples, found=busy))
    doubted = replace(table, pairs={"cpu/int8": pair})
    file = samples_file(tmp_path, {})
    assert "too much to rank shapes by" in doubted.doubt()
    assert doubted.doubt().endswith(f"to measure everything again, delete {file}")
    assert doubted.doubt(most=100.0) == ""


def test_of_equal_times_the_smaller_shape_is_first(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    found = candidates(table, Targets({(1, 8): 1.0}, None))
    places = {each.sizes: place for place, each in enumerate(found)}
    for sizes in table.family.space.grid():
        if sizes.vocabulary is None:
            assert places[replace(sizes, vocabulary=300)] < places[sizes]


def test_a_skeleton_costs_what_its_shape_costs(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    run, sizes = table.pairs["cpu/int8"].run, Sizes(2, hidden=24, activation="relu", vocabulary=300)
    how = run.device.runtime, run.quantizer
    assert table.predict_model(table.family.skeleton(sizes), *how) == table.predict(sizes, *how)


def test_a_tokenizer_between_two_is_interpolated(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    pair = table.pairs["cpu/int8"]
    sizes = Sizes(1, vocabulary=650)
    facts = table.family.facts(sizes)
    found = table.predict(sizes, pair.run.device.runtime, pair.run.quantizer)
    assert found.size_bytes == pytest.approx(size(facts, pair.run, 6_500), rel=1e-5)


def test_a_vocabulary_has_no_more_tokens_than_the_rows(tmp_path: Path) -> None:
    """Rows with 250 tokens: what is asked for is 300."""
    table = made_table(tmp_path)
    pair = table.pairs["cpu/int8"]
    run, family = pair.run, table.family
    found = []
    for sample in pair.samples.found:
        if sample.sizes.vocabulary is not None:
            facts = dict(family.facts(sample.sizes, tokens=250))
            sample = replace(sample, facts=facts, size_bytes=size(facts, run, 3_000))
        found.append(sample)
    pair = replace(pair, samples=replace(pair.samples, found=tuple(found)))
    table = replace(table, pairs={"cpu/int8": pair})
    sizes = Sizes(2, hidden=24, vocabulary=300)
    assert table.facts(sizes)["tokens"] == 250
    predicted = table.predict(sizes, run.device.runtime, run.quantizer)
    real = size(family.facts(sizes, tokens=250), run, 3_000)
    assert predicted.size_bytes == pytest.approx(real, rel=1e-5)
    # Of a vocabulary in between nothing was measured, and the teacher's own has all.
    assert table.facts(Sizes(1, vocabulary=650))["tokens"] == 650
    assert table.facts(Sizes(1))["tokens"] == 1000


def test_what_was_not_measured_is_refused(tmp_path: Path) -> None:
    table = made_table(tmp_path)
    run = table.pairs["cpu/int8"].run
    with pytest.raises(ConfigError, match="layers must be within"):
        table.predict(Sizes(4), run.device.runtime, run.quantizer)
    with pytest.raises(
        ConfigError, match="TorchRuntime with Bf16 is not in the table of costs; me"
    ):
        table.predict(Sizes(1), run.device.runtime, Bf16())
    facts = {**table.family.facts(Sizes(1)), "neurons of tanh": 64.0}
    with pytest.raises(ConfigError, match="one that was measured, gelu, relu; got tanh"):
        table.pairs["cpu/int8"].predict(facts)


def test_the_best_margin_comes_first(tmp_path: Path) -> None:
    """The margin is that of the target that is missed first."""
    table = made_table(tmp_path)
    targets = Targets({(4, 16): 30.0, (1, 8): 2.0}, 4.0)
    found = candidates(table, targets)
    assert len(found) == len(list(SPACE.grid()))
    margins = [each.margin for each in found]
    assert margins == sorted(margins, reverse=True)
    for each in found:
        ratios = (*each.predicted.speedup, each.predicted.smaller)
        parts = zip(ratios, (2.0, 30.0, 4.0), strict=True)
        assert each.margin == min(ratio / least for ratio, least in parts)
    assert len({each.predicted.smaller / 4 == each.margin for each in found}) == 2


SHAPES = ((1, 8), (4, 16))


@pytest.mark.parametrize(
    ("faster", "smaller", "said"),
    [
        (["1x8"], None, "--faster must be such as 1x32=25, got 1x8"),
        (["1x8=0"], None, "--faster must be such as 1x32=25, got 1x8=0"),
        (["1x8=-1"], None, "--faster must be such as"),
        (["1x9=2"], None, "must be of a shape that is timed, 1x8, 4x16; got 1x9=2"),
        ([], 0.0, "--smaller must be > 0, got 0"),
        ([], float("nan"), "--smaller must be > 0, got nan"),
    ],
)
def test_a_wrong_target_is_refused(faster: list[str], smaller: float | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_targets(faster, smaller, SHAPES)


def test_targets_as_a_command_has_them() -> None:
    assert parse_targets([], None, SHAPES) is None
    assert parse_targets(["4x16=2.5"], 20.0, SHAPES) == Targets({(4, 16): 2.5}, 20.0)
    with pytest.raises(ConfigError, match=r"--faster must name each shape once, got 4x16=2 4x16=3"):
        parse_targets(["4x16=2", "4x16=3"], None, SHAPES)
    with pytest.raises(ConfigError, match=r"--smaller must be > 0, got inf"):
        parse_targets([], float("inf"), SHAPES)
