"""The decision on a section's runs in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from compress.analysis.decision import Candidate, Standing
from compress.records.schema import FinishedRun
from compress.records.score_words import (
    kind_of,
    less_than_words,
    lost_words,
    margin_words,
    score_words,
    value_words,
)
from compress.records.words import (
    fast_words,
    megabytes,
    named_runs,
    needed_words,
    p_of,
    p_words,
    rows_words,
    significant,
)
from compress.report.contest import Contest, is_kept
from compress.report.controls import ControlRow, nearest_undecided
from compress.report.points import Shape, known_speedup, speedup_at

LISTED = 3  # runs of which is said why they are out


def headline(contest: Contest, rival: ControlRow | None) -> list[str]:
    """What to do, in one to three sentences.

    Args:
        contest: the recipes and the decision.
        rival: an admitted control with no larger product of size and time than what is shipped.
    """
    decision = contest.decision
    if decision.ship is not None:
        parts = [f"Ship run {decision.ship.name}: {cost_words(*_shown(contest, decision.ship))}."]
    elif decision.hopeful is not None:
        less = less_than_words(contest.kind, decision.rule.margin)
        parts = [
            f"{_rows(contest)} are too few to decide: no run that is smaller or faster is shown to "
            f"{less}."
        ]
    else:
        parts = [_nothing(contest)]
        if rival is None and (near := nearest_undecided(contest)) is not None:
            parts.append(_undecided(contest, *near))
    return [*parts, *_hope(contest), *_fallback(contest, rival)]


def reasons(contest: Contest) -> Iterator[str]:
    """Why, with the figures of the rows that choose and of those that do not."""
    decision = contest.decision
    if decision.ship is not None:
        yield _why(contest, decision.ship)
        yield from _choice(contest, decision.ship)
    yield _chosen_on(contest)
    shown = [each for each in decision.cheaper() if each.candidate != decision.hopeful]
    yield from (_out(contest, each) for each in shown[:LISTED])
    if decision.ship is not None:
        record = contest.recipes[decision.ship.name].record
        if not is_kept(record):
            yield "Its model was deleted after measuring; the command below makes it again."
        if record.environment.busy is not None:
            yield "Other processes used the CPU when this run began: time it again."


def cost_words(record: FinishedRun, shape: Shape) -> str:
    """What a model is beside its teacher: bytes, time, score."""
    ours, theirs = record.metrics, record.baseline
    kind = kind_of(ours.score)
    return (
        f"{megabytes(ours.size_bytes)} MB instead of {megabytes(theirs.size_bytes)}, "
        f"{fast_words(known_speedup(record, shape))}, {kind.words} "
        f"{score_words(ours.score, 3)} where the teacher has "
        f"{value_words(kind, theirs.score.value, 3)}"
    )


def _shown(contest: Contest, one: Candidate) -> tuple[FinishedRun, Shape]:
    return contest.recipes[one.name].record, contest.shape


def _standings(contest: Contest) -> list[Standing]:
    return list(contest.decision.standings.values())


def _rows(contest: Contest) -> str:
    return rows_words(_standings(contest)[0].evidence.rows, contest.split)


def _hope(contest: Contest) -> Iterator[str]:
    """Names the run that more rows might admit."""
    decision, hopeful = contest.decision, contest.decision.hopeful
    if hopeful is None:
        return
    found = decision.standings[hopeful.name].evidence
    lost = lost_words(contest.kind, found.change)
    record, shape = _shown(contest, hopeful)
    if decision.ship is None:
        yield (
            f"The best candidate is run {hopeful.name}: {cost_words(record, shape)}; on these rows "
            f"it {lost}{_needed(contest, hopeful)}."
        )
        return
    less = less_than_words(contest.kind, decision.rule.margin)
    yield (
        f"Run {hopeful.name} may be better: {megabytes(record.metrics.size_bytes)} MB, "
        f"{fast_words(known_speedup(record, shape))}. It {lost}{_on_test(contest, record)}, but "
        f"{_rows(contest)} are too few to show that it would {less}{_needed(contest, hopeful)}."
    )


def _on_test(contest: Contest, record: FinishedRun) -> str:
    """The change on rows that choose nothing, beside that on those that do."""
    if contest.split == "evaluation":
        return ""
    return f" (on the test rows it {_lost_on_test(contest, record)})"


def _lost_on_test(contest: Contest, record: FinishedRun) -> str:
    change = record.metrics.score.quality - record.baseline.score.quality
    return lost_words(contest.kind, change)


def _fallback(contest: Contest, rival: ControlRow | None) -> Iterator[str]:
    """What to take where no run is shipped, or what is as good as the run that is."""
    shipped, waits = contest.decision.ship is not None, contest.decision.hopeful is not None
    if rival is None:
        if waits and not shipped:
            yield "Until then keep the teacher."
        return
    what = f"the {rival.title.replace(': ', ' ')} ({_costs(rival, contest.shape)}"
    if shipped:
        yield f"But {what}) is admitted too and no worse in the product of size and time."
    elif waits:
        yield f"Until then take {what}), which is admitted."
    else:
        yield f"But {what}) is admitted."


def _needed(contest: Contest, one: Candidate) -> str:
    return needed_words(contest.decision.standings[one.name].evidence.rows_needed)


def _nothing(contest: Contest) -> str:
    """Why nothing is shipped where no row more would help."""
    gaining = [each for each in _standings(contest) if each.candidate.gains]
    if not gaining:
        return "Keep the teacher: no run is smaller or faster, and not worse in the other."
    less = less_than_words(contest.kind, contest.decision.rule.margin)
    nearest = max(gaining, key=lambda each: each.evidence.change)
    return (
        f"Keep the teacher: no run that is smaller or faster and may be shipped is shown to {less}."
        f" The nearest is run {nearest.candidate.name}: "
        f"{cost_words(*_shown(contest, nearest.candidate))}."
    )


def _undecided(contest: Contest, control: ControlRow, found: Standing) -> str:
    """What a control is that the rows are too few to decide on."""
    lost = lost_words(contest.kind, found.evidence.change)
    less = less_than_words(contest.kind, contest.decision.rule.margin)
    name, costs = control.title.replace(": ", " "), _costs(control, contest.shape)
    return (
        f"The {name} has {costs}: it {lost} on {_rows(contest)}, which are too few to "
        f"show that it would {less}{needed_words(found.evidence.rows_needed)}."
    )


def _costs(control: ControlRow, shape: Shape) -> str:
    """Size and speed of a control."""
    speed = speedup_at(control.record, shape)
    time = "not timed" if speed is None else fast_words(speed)
    return f"{megabytes(control.record.metrics.size_bytes)} MB, {time}"


def _why(contest: Contest, ship: Candidate) -> str:
    decision, recipe = contest.decision, contest.recipes[ship.name]
    found = decision.standings[ship.name].evidence
    margin = margin_words(contest.kind, decision.rule.margin)
    choosing = (
        f"On the {_rows(contest)} that choose it {lost_words(contest.kind, found.change)}; a loss "
        f"of {margin} or more is excluded ({p_of(found.p_within)}, one-sided)."
    )
    if len(recipe.seeds) > 1:
        seeds = ", ".join(map(str, sorted(seed or 0 for seed in recipe.seeds)))
        choosing += (
            f" That is the mean of seeds {seeds}; run {ship.name} is the lowest seed's, since the "
            "best of several would look better than it is."
        )
    if contest.split == "validation":
        tests = recipe.record.metrics.score.samples
        choosing += f" On the {tests:,} test rows, which choose nothing, it "
        choosing += f"{_tested(contest, recipe.record)}."
    return choosing


def _tested(contest: Contest, record: FinishedRun) -> str:
    """The change on the test rows as a verb, and whether it is more than chance."""
    doubt = "" if significant(record.comparison) else "not significant, "
    return f"{_lost_on_test(contest, record)} ({doubt}{p_words(record.comparison)})"


def _choice(contest: Contest, ship: Candidate) -> Iterator[str]:
    """How it was chosen among those admitted."""
    decision = contest.decision
    others = [each for each in decision.tied if each.name != ship.name]
    if others:
        score = f"{contest.kind.words} on the rows that choose"
        wins = f"it has the best {score}"
        if any(each.quality == ship.quality for each in others):
            wins = f"none is better in {score}, and it has the fewest stages"
        yield (
            f"{named_runs([each.name for each in others], 'Run')} "
            f"{'is' if len(others) == 1 else 'are'} as small and as fast, within 1 % of the bytes "
            f"and the noise floor of time ({decision.floor:.3f}); of these {wins}."
        )
    elif len(decision.within()) > 1:
        yield (
            f"Of the {len(decision.within())} runs that may be shipped it has the smallest product "
            "of bytes and time."
        )


def _chosen_on(contest: Contest) -> str:
    if contest.split == "validation":
        return f"Chosen on {_rows(contest)}; the test rows were not used for selection."
    return (
        f"Chosen on the same {_rows(contest)} as the figures, as not every run was scored on "
        "validation rows: the figures of the chosen run are optimistic."
    )


def _out(contest: Contest, found: Standing) -> str:
    """Why a run that costs less is not shipped."""
    one, kind = found.candidate, contest.kind
    record, shape = _shown(contest, one)
    speed = fast_words(known_speedup(record, shape))
    subject = f"Run {one.name} ({megabytes(record.metrics.size_bytes)} MB, {speed})"
    if one.barred is not None:
        return f"{subject} {one.barred}."
    lost = lost_words(kind, found.evidence.change)
    margin = margin_words(kind, contest.decision.rule.margin)
    if found.place == "undecided" and found.evidence.change <= -contest.decision.rule.margin:
        chance = f"more than {margin}, which may be chance ({p_of(found.evidence.p_beyond)})"
        return f"{subject} {lost} on the rows that choose: {chance}."
    if found.place == "excluded":
        beyond = f"more than {margin} ({p_of(found.evidence.p_beyond)})"
        return f"{subject} {lost} on the rows that choose: {beyond}."
    return (
        f"{subject} {lost} on the rows that choose, which are too few to show less than {margin} "
        f"({p_of(found.evidence.p_within)}){_needed(contest, one)}."
    )
