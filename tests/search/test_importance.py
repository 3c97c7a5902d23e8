from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.search.importance import importances
from compress.search.past import PastSearch
from tests.search.test_past import lay, the, trial

SPACE = {
    "student": "choice(none, layers)",
    "student.keep": {"space": "range(1, 5)", "when": {"student": "layers"}},
    "rate": "tag(log, interval(0.001, 1.0))",
}


def search(folder: Path, count: int) -> PastSearch:
    """Trials whose accuracy hangs on `keep` alone; `rate` and `given` decide about nothing."""
    rates, given = itertools.cycle([0.001, 0.03, 1.0]), itertools.cycle(["x", "y", "z", "w", "v"])
    records = {}
    for number in range(count):
        keep = number % 5
        student = ["student=layers", f"student.keep={keep}"] if keep else ["student=none"]
        accuracy = 0.5 + 0.07 * keep + 0.0001 * (number % 3)
        words = [*student, f"rate={next(rates)}", f"given={next(given)}{number % 2}"]
        records[f"t{number}"] = trial(accuracy, 50, *words, space=SPACE, constraints={})
    return the(lay(folder, **records))


def test_what_decides_is_told_from_what_does_not(tmp_path: Path) -> None:
    found = importances(search(tmp_path, 60))
    assert list(found) == ["accuracy"], "all trials are equal in size"
    shares = found["accuracy"]
    assert set(shares) == {"student", "student.keep", "rate", "given"}
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda key: shares[key]) == "student.keep"
    assert shares["rate"] < 0.1


def test_it_is_the_same_every_time_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    past = search(tmp_path, 20)
    assert importances(past) == importances(past)
    assert capfd.readouterr() == ("", "")


def test_few_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="9 trials are too few, 10 are needed"):
        importances(search(tmp_path, 9))


def test_a_space_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    records = {f"t{i}": trial(0.8, i + 1, f"a={i}", space={"a": "nonsense("}) for i in range(10)}
    with pytest.raises(UserError, match=r"search\.space\.a"):
        importances(the(lay(tmp_path, **records)))
