from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from compress.config.errors import UserError
from compress.core.problem import Problem
from compress.problem.classification import Classification
from compress.problem.language import LanguageModeling
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from compress.task.components.text import TextSplit
from compress.training.tfidf import fit_tfidf
from tests.tiny import ImageSplit

TRAIN = (
    "a good film", "a good good end", "A bad film!", "a bad end", "I saw it", "I saw the end",
)  # fmt: skip
OTHERS = ("a good end", "bad", "nothing known", "")
SECOND = ("yes it is", "yes", "no", "no it is", "yes it", "no")


def rows_of(labels: list[object], *columns: tuple[str, ...], name: str = "train") -> TextSplit:
    texts = dict(zip(("text", "second"), map(list, columns), strict=False))
    return TextSplit(name, pd.DataFrame({**texts, "label": labels}), max_length=2)


def plain_features(texts: tuple[str, ...]) -> TfidfVectorizer:
    """scikit-learn's own, for texts in which words are runs of ASCII letters."""
    return TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"[a-zA-Z]+"
    ).fit(list(texts))


def test_features_by_hand() -> None:
    model = fit_tfidf(rows_of([0, 0, 1, 1, 0, 1], TRAIN), Classification(("x", "y")))
    [features] = model.features
    # Of 6 texts: "a" in 4, "end" in 3, all others in 2; "good good" and "good film" in one each.
    assert features.get_feature_names_out().tolist() == [
        "a", "a bad", "a good", "bad", "end", "film", "good", "i", "i saw", "saw",
    ]  # fmt: skip
    a, end, two = (math.log(7 / (1 + count)) + 1 for count in (4, 3, 2))
    twice = (1 + math.log(2)) * two
    row = np.array([a, two, end, twice])  # a, a good, end, good
    [found] = features.transform(["a good good end"]).toarray()
    assert found[[0, 2, 4, 6]] == pytest.approx(row / np.linalg.norm(row), abs=1e-6)
    assert np.count_nonzero(found) == 4


@pytest.mark.parametrize(
    ("problem", "labels", "weights"),
    [
        (Classification(("x", "y")), [0, 1, 0, 1, 1, 1], None),
        (Classification(("x", "y"), weights=(3.0, 1.0)), [0, 1, 0, 1, 1, 1], {0: 3.0, 1: 1.0}),
        (Classification(("x", "y", "z")), [0, 0, 1, 1, 2, 2], None),
    ],
)
def test_classes_are_those_of_scikit_learn(
    problem: Classification, labels: list[int], weights: dict[int, float] | None
) -> None:
    model, plain = fit_tfidf(rows_of(labels, TRAIN), problem), plain_features(TRAIN)
    found = model.predict(rows_of([0] * 4, OTHERS))
    reference = LogisticRegression(C=1.0, class_weight=weights)
    reference.fit(plain.transform(TRAIN), labels)
    probabilities = reference.predict_proba(plain.transform(OTHERS))
    assert found.softmax(dim=1).numpy() == pytest.approx(probabilities, abs=1e-3)
    assert found.argmax(dim=1).tolist() == reference.predict(plain.transform(OTHERS)).tolist()


def test_a_class_without_train_rows_is_never_predicted() -> None:
    problem = Classification(("never", "x", "seldom", "y"))
    found = fit_tfidf(rows_of([1, 1, 3, 3, 1, 3], TRAIN), problem).predict(rows_of([0] * 4, OTHERS))
    assert found.shape == (4, 4)
    assert found.isinf().all(dim=0).tolist() == [True, False, True, False]
    assert problem.evaluate(found, torch.tensor([1, 3, 0, 2])).value == 0.5


def test_each_label_has_a_regression_of_its_own() -> None:
    labels = [[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0]]
    problem = MultiLabel(("a", "none", "b"), weights=(2.0, 1.0, 1.0))
    found = fit_tfidf(rows_of(labels, TRAIN), problem).predict(rows_of(labels[:4], OTHERS))
    plain = plain_features(TRAIN)
    for column, weight in ((0, 2.0), (2, 1.0)):
        reference = LogisticRegression(C=1.0, class_weight={0: 1.0, 1: weight})
        reference.fit(plain.transform(TRAIN), [row[column] for row in labels])
        expected = reference.decision_function(plain.transform(OTHERS))
        assert found[:, column].numpy() == pytest.approx(expected, abs=2e-3)
    assert (found[:, 1] == -1).all(), "no train row has it"


def test_numbers_of_pairs_are_ridge_regression_on_the_features_of_both_texts() -> None:
    labels = [0.5, 1.0, 4.0, 5.0, 2.0, 3.0]
    model = fit_tfidf(rows_of(labels, TRAIN, SECOND), Regression())
    found = model.predict(rows_of([0.0] * 4, OTHERS, SECOND[:4]))
    first, second = plain_features(TRAIN), plain_features(SECOND)
    reference = Ridge(alpha=1.0).fit(
        hstack([first.transform(TRAIN), second.transform(SECOND)]).toarray(), labels
    )
    expected = reference.predict(
        hstack([first.transform(OTHERS), second.transform(SECOND[:4])]).toarray()
    )
    assert found.shape == (4, 1)
    assert found[:, 0].numpy() == pytest.approx(expected, abs=1e-3)


def test_marks_belong_to_their_words() -> None:
    texts = ("ভালো ছবি", "ভালো গল্প", "খারাপ ছবি", "খারাপ গল্প", "naïve film", "naïve film")
    [features] = fit_tfidf(rows_of([0, 0, 1, 1, 0, 1], texts), Classification(("x", "y"))).features
    assert {"ভালো", "ছবি", "খারাপ", "গল্প", "naïve"} <= set(features.get_feature_names_out())


@pytest.mark.parametrize("columns", [(TRAIN,), (TRAIN, SECOND)])
def test_the_size_is_of_the_arrays_and_the_grams(columns: tuple[tuple[str, ...], ...]) -> None:
    model = fit_tfidf(rows_of([0, 1, 0, 1, 1, 1], *columns), Classification(("x", "y")))
    count = sum(len(each.vocabulary_) for each in model.features)
    arrays = model.arrays()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert sum(array.size for array in arrays.values()) == 2 * count + 1
    lines = "".join(f"{gram}\n" for each in model.features for gram in each.vocabulary_)
    assert model.size_bytes() == len(save(arrays)) + len(lines.encode())


def test_a_fit_repeats_to_the_last_bit() -> None:
    rows = rows_of([0, 1, 0, 1, 1, 1], TRAIN)
    first, second = (fit_tfidf(rows, Classification(("x", "y"))).arrays() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("rows", "problem", "said"),
    [
        (ImageSplit(4, "train"), Classification(("x", "y")), "it needs rows of labeled texts"),
        (rows_of([0] * 6, TRAIN), LanguageModeling(), "not a problem of LanguageModeling"),
        (rows_of([1] * 6, TRAIN), Classification(("x", "y")), "the train rows are all of one cl"),
        (rows_of([0, 1], ("a b", "c d")), Classification(("x", "y")), "no word is in 2 of the tr"),
        (rows_of([0], ("a",)), Classification(("x", "y")), "no word is in 2 of the train rows"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    rows: TextSplit | ImageSplit, problem: Problem, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        fit_tfidf(rows, problem)
