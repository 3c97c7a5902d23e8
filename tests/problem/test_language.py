from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from compress.problem.language import LanguageModeling
from compress.problem.next_token import choices, next_tokens
from compress.problem.per_token import IGNORED

LM = LanguageModeling()
LN2 = math.log(2)


def odds(*rows: list[float]) -> torch.Tensor:
    """Logits of one window: the logarithms of these odds, place by place."""
    return torch.tensor([list(map(math.log, row)) for row in rows])[None]


def ids(*rows: list[int]) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor(rows)}


def test_a_model_that_knows_nothing_has_the_vocabularys_size_as_its_perplexity() -> None:
    inputs = {"input_ids": torch.randint(0, 7, (3, 600))}
    kept = LM.kept(torch.zeros(3, 600, 7), inputs)
    assert kept.shape == (3, 599, 4)
    found = LM.evaluate(kept, torch.tensor([599] * 3))
    assert found.metric == "perplexity"
    assert [found.value, found.low, found.high] == pytest.approx([7.0] * 3, rel=1e-5)
    assert found.others["bits_per_byte"] == pytest.approx(math.log2(7), rel=1e-5)
    zeros = float((inputs["input_ids"][:, 1:] == 0).double().mean())
    assert found.others["token_accuracy"] == pytest.approx(zeros)


def test_perplexity_by_hand() -> None:
    """Of two windows the tokens that come have probabilities 1/2, 1/4 and 1/4, 1/8."""
    logits = torch.cat([odds([1, 1], [1, 3], [1, 9]), odds([3, 1], [7, 1], [1, 9])])
    kept = LM.kept(logits, ids([1, 1, 0], [0, 1, 1]))
    assert kept[..., 0].flatten().tolist() == pytest.approx([LN2, 2 * LN2, 2 * LN2, 3 * LN2])
    # The first window's first place is a tie, which the earlier token wins.
    assert kept[..., 1].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert kept[..., 2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    found = LM.evaluate(kept, torch.tensor([3, 5]))
    assert found.value == pytest.approx(2 ** (8 / 4))
    assert found.others["bits_per_byte"] == pytest.approx(1.0)
    # Window means 1.5 and 2.5 in units of ln 2: standard error ½, t with one degree of freedom.
    reach = stats.t.ppf(0.975, 1) / 2
    assert [found.low, found.high] == pytest.approx([2 ** (2 - reach), 2 ** (2 + reach)])


def test_choices_are_of_the_window_and_equal_tokens_are_none() -> None:
    """Of ten tokens the others stand 3, 5 and 7 places behind, round the end."""
    targets = torch.arange(10)[None]
    assert choices(targets)[0, 0].tolist() == [3, 5, 7]
    assert choices(targets)[0, 6].tolist() == [9, 1, 3]
    inputs = {"input_ids": torch.arange(11)[None] - 1}
    inputs["input_ids"][0, 0] = 0
    likes = torch.zeros(1, 11, 10)
    likes[0, :5] = torch.eye(10)[:5]  # the first five tokens are known, the others all the same
    kept = LM.kept(likes, inputs)
    assert kept[0, :, 3].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    found = LM.evaluate(torch.cat([kept, kept]), torch.tensor([10, 10]))
    assert found.others["cloze_accuracy"] == 0.5
    inputs["input_ids"][0, 4] = 0  # what the first token would have to be told from is the same
    assert LM.kept(likes, inputs)[0, 0, 3] == -1
    inputs["input_ids"][0, 4] = 5  # two of the others are
    assert LM.kept(likes, inputs)[0, 0, 3] == -1


def test_to_know_what_is_frequent_gives_one_choice_in_four() -> None:
    """A text of tokens without order, of which some are much more frequent, and are liked so."""
    generator = torch.Generator().manual_seed(0)
    odds_of = 1.0 / torch.arange(1, 201)
    tokens = torch.multinomial(odds_of.expand(40, -1), 500, replacement=True, generator=generator)
    kept = LM.kept(odds_of.log().expand(40, 500, 200), {"input_ids": tokens})
    found = LM.evaluate(kept, torch.tensor([499] * 40)).others
    assert found["token_accuracy"] > 0.15
    assert found["cloze_accuracy"] == pytest.approx(0.25, abs=0.01)


def test_only_the_last_tokens_count_where_windows_overlap() -> None:
    logits = torch.cat([odds([1, 1], [1, 3], [1, 9]), odds([3, 1], [7, 1], [1, 9])])
    kept = LM.kept(logits, ids([1, 1, 0], [0, 1, 1]))
    found = LanguageModeling(scored=1).evaluate(kept, torch.tensor([1, 1]))
    assert found.value == pytest.approx(2**2.5)


def test_padding_is_ignored() -> None:
    inputs = ids([1, 0, 1], [1, 1, 0]) | {"attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    targets = LM.targets(torch.tensor([2, 1]), inputs)
    assert targets.tolist() == [[0, 1, IGNORED], [1, IGNORED, IGNORED]]
    logits = torch.cat([odds([1, 3], [1, 1], [1, 1]), odds([1, 7], [1, 1], [9, 1])])
    losses = [2 * LN2, LN2, math.log(8 / 7)]
    assert float(LM.loss(logits, targets)) == pytest.approx(sum(losses) / 3)
    kept = LM.kept(logits, inputs)
    assert kept[1, 1].tolist() == [0.0, -1.0, 0.0, -1.0]
    assert LM.evaluate(kept, torch.tensor([2, 1])).value == pytest.approx(math.exp(sum(losses) / 3))
    other = logits.clone()
    other[1, 1:] = torch.tensor([5.0, -5.0])
    assert float(LM.loss(other, targets)) == pytest.approx(float(LM.loss(logits, targets)))
    assert float(LM.distillation_loss(logits, other, targets, 2.0)) == pytest.approx(0, abs=1e-7)


def test_distillation_loss_by_hand() -> None:
    """The teacher says 4:1 at T = 1, that is 2:1 at T = 2, at one of two places."""
    student, teacher = odds([1, 1], [1, 1], [1, 1]), odds([4, 1], [1, 1], [9, 1])
    targets = next_tokens(ids([0, 1, 1]))
    at_two = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.5)
    assert float(LM.distillation_loss(student, teacher, targets, 2.0)) == pytest.approx(
        4 * at_two / 2
    )


def test_models_are_compared_window_by_window() -> None:
    def kept(losses: list[float], guesses: list[int]) -> torch.Tensor:
        zeros = torch.zeros(len(losses))
        found = [torch.tensor(losses), torch.tensor(guesses).float(), zeros, zeros]
        return torch.stack(found, 1)[:, None]

    labels = torch.ones(4, dtype=torch.long)
    theirs, ours = kept([1, 2, 3, 4], [5, 6, 7, 8]), kept([1.5, 2.5, 4, 4], [5, 6, 0, 0])
    found = LM.compare(ours, theirs, labels)
    assert (found.agreement, found.n_regressed, found.n_improved) == (0.5, None, None)
    expected = stats.ttest_rel([1.5, 2.5, 4, 4], [1, 2, 3, 4]).pvalue
    assert found.p_value == pytest.approx(expected)
    assert "windows" in found.test
    same = LM.compare(theirs, theirs, labels)
    assert (same.agreement, same.p_value) == (1.0, 1.0)
