from __future__ import annotations

import math

import numpy as np
import pytest

from compress.analysis.noninferiority import Change, Evidence, evidence, tango_variance


def counted(n_regressed: float, n_improved: float, rows: int) -> Change:
    return Change((n_improved - n_regressed) / rows, rows, n_regressed, n_improved)


def test_tangos_own_example() -> None:
    # Tango 1998, section 5: 43 of 44 patients the same, one regressed, margin 0.1: Z = 1.709.
    z = (-1 / 44 + 0.1) / math.sqrt(tango_variance(1, 0, 44, 0.1))
    assert z == pytest.approx(1.709, abs=5e-4)


@pytest.mark.parametrize(
    ("n_regressed", "n_improved", "rows", "margin"),
    [(12, 5, 400, 0.02), (0, 0, 100, 0.05), (3, 40, 900, 0.01), (60, 20, 853, 0.03)],
)
def test_the_variance_is_that_of_the_likeliest_shares_with_such_a_loss(
    n_regressed: int, n_improved: int, rows: int, margin: float
) -> None:
    improved = np.linspace(0, (1 - margin) / 2, 2_000_001)[1:-1]
    with np.errstate(divide="ignore"):
        likelihood = (
            n_regressed * np.log(improved + margin)
            + n_improved * np.log(improved)
            + (rows - n_regressed - n_improved) * np.log(1 - 2 * improved - margin)
        )
    best = improved[likelihood.argmax()]
    expected = (2 * best + margin - margin**2) / rows
    assert tango_variance(n_regressed, n_improved, rows, margin) == pytest.approx(
        expected, rel=1e-3
    )


def false_passes(rows: int, margin: float, improved: float) -> float:
    """Exact share of models that lose the margin and pass at 5 %: every pair of counts."""
    from scipy.stats import multinomial

    shares = [improved + margin, improved, 1 - 2 * improved - margin]
    whole = 0.0
    for n_regressed in range(rows + 1):
        for n_improved in range(rows + 1 - n_regressed):
            found = evidence([counted(n_regressed, n_improved, rows)], margin, 0.05)
            if found.p_within < 0.05:
                counts = [n_regressed, n_improved, rows - n_regressed - n_improved]
                whole += multinomial.pmf(counts, rows, shares)
    return whole


@pytest.mark.parametrize(
    ("margin", "improved"), [(0.03, 0.0), (0.1, 0.0), (0.1, 0.02), (0.1, 0.1), (0.05, 0.2)]
)
def test_at_most_one_in_twenty_of_those_that_lose_the_margin_pass(
    margin: float, improved: float
) -> None:
    assert false_passes(60, margin, improved) <= 0.05


@pytest.mark.parametrize(
    ("change", "within", "beyond"),
    [
        (counted(0, 0, 2000), True, False),  # the same predictions
        (counted(8, 8, 2000), True, False),
        (counted(0, 0, 50), False, False),  # too few rows to know of one in a hundred
        (counted(30, 20, 853), False, False),
        (counted(40, 5, 853), False, True),
        (counted(0, 60, 853), True, False),
        (Change(0.0, 100, standard_error=0.005), True, False),
        (Change(0.0, 100, standard_error=0.007), False, False),
        (Change(-0.03, 100, standard_error=0.01), False, True),
        (Change(0.0, 100, standard_error=0.0), False, False),  # nor if no row shows any change
        (Change(0.0, 400, standard_error=0.0), True, False),
        (Change(0.02, 100, standard_error=0.0), True, False),
        (Change(-0.02, 100, standard_error=0.0), False, True),
    ],
)
def test_a_loss_is_within_the_margin_beyond_it_or_undecided(
    change: Change, within: bool, beyond: bool
) -> None:
    found = evidence([change], 0.01, 0.05)
    assert (found.p_within < 0.05, found.p_beyond < 0.05) == (within, beyond)


def test_rows_without_a_change_are_as_sure_as_their_number() -> None:
    """Of a model that changes one row in a hundred, n rows show nothing with 0.99 to the n."""
    found = evidence([Change(0.0, 20, standard_error=0.0)], 0.01, 0.05)
    assert found.p_within == pytest.approx(0.99**20)
    assert found.rows_needed == 299  # 0.99 ** 299 = 0.0496
    assert found.p_beyond == 1


@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_no_model_loses_more_than_all_rows(margin: float) -> None:
    assert evidence([counted(3, 1, 20)], margin, 0.05).p_within == 0


def test_a_paired_standard_error_is_tested_by_students_t() -> None:
    from scipy.stats import t

    found = evidence([Change(-0.004, 9, standard_error=0.003)], 0.01, 0.05)
    assert found.p_within == pytest.approx(t.sf(2.0, 8))
    assert found.p_beyond == pytest.approx(t.sf(-2.0, 8))


def test_seeds_that_agree_are_as_sure_as_one_and_seeds_that_differ_are_less() -> None:
    one = evidence([counted(10, 10, 2000)], 0.01, 0.05)
    same = evidence([counted(10, 10, 2000)] * 3, 0.01, 0.05)
    apart = evidence(
        [counted(10, 10, 2000), counted(4, 14, 2000), counted(14, 4, 2000)], 0.01, 0.05
    )
    assert same.p_within == pytest.approx(one.p_within)
    assert apart.change == one.change == 0
    assert apart.p_within > one.p_within


def test_the_variance_of_seeds_is_added_with_its_degrees_of_freedom() -> None:
    from scipy.stats import t

    changes = [Change(value, 10**9, standard_error=0.003) for value in (0.001, -0.003, -0.001)]
    found = evidence(changes, 0.01, 0.05)
    rows, seeds = 0.003**2, 0.002**2 / 3
    freedom = (rows + seeds) ** 2 / (seeds**2 / 2)
    expected = t.sf((-0.001 + 0.01) / math.sqrt(rows + seeds), freedom)
    assert found.p_within == pytest.approx(expected, rel=1e-6)


def rows_needed(change: Change, margin: float = 0.01) -> int | None:
    return evidence([change], margin, 0.05).rows_needed


def test_the_rows_that_are_said_to_be_needed_decide_four_times_of_five() -> None:
    generator = np.random.default_rng(0)
    shares = [0.028, 0.026, 0.946]
    needed = rows_needed(counted(28, 26, 1000))
    assert needed is not None
    draws = generator.multinomial(needed, shares, size=2000)
    passed = [
        evidence([counted(int(lost), int(won), needed)], 0.01, 0.05).p_within < 0.05
        for lost, won, _ in draws
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.03)


def test_no_number_of_rows_decides_a_loss_of_the_margin_or_seeds_that_differ() -> None:
    assert rows_needed(counted(10, 0, 1000)) is None
    apart = [counted(0, 40, 1000), counted(40, 0, 1000)]
    assert evidence(apart, 0.01, 0.05).rows_needed is None


def test_what_it_returns() -> None:
    found = evidence([counted(6, 2, 1000)], 0.01, 0.05)
    assert isinstance(found, Evidence)
    assert (found.change, found.rows) == (-0.004, 1000)
