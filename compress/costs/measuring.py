"""Makes a table of costs: reads what was measured, and measures more shapes in the time given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from compress.config.errors import ConfigError, UserError
from compress.costs.family import Family
from compress.costs.fit import LEAST
from compress.costs.lab import Lab, check_untrained, exportable, open_lab
from compress.costs.samples import (
    Sample,
    Samples,
    conditions,
    read_samples,
    samples_file,
    write_samples,
)
from compress.costs.space import Costs, Sizes, plan
from compress.costs.table import NOISY, Pair, Table
from compress.costs.targets import Candidate
from compress.measure.environment import busy
from compress.measure.latency import MIN_ROUNDS
from compress.stage.run import Run
from compress.system.logs import shown_path

Report = Callable[[str], None]

DISTURBED = 1.5  # the teacher's time over its shortest: an idle machine varies by a fifth


def make_table(runs: Mapping[str, Run], costs: Costs, report: Report = lambda _: None) -> Table:
    """The table of some runtimes and formats; its samples are kept in the stage cache.

    Args:
        runs: by name; they differ in device, quantizer and student alone.
        costs: what to measure, and for how long.
        report: gets a line on each sample.

    Raises:
        UserError: the space has an impossible size, a file is damaged, or nothing is kept.
    """
    first = next(iter(runs.values()))
    if not first.cache.reuse:
        raise ConfigError("a table of costs is kept in the stage cache: set cache=on")
    cache, family = Path(first.cache.dir), Family(first, costs.space)
    refused = _untried(runs)
    # Runs whose students alone differ have one file.
    files: dict[str, _File] = {}
    distinct: dict[str, _File] = {}
    for name, run in runs.items():
        if name not in refused:
            file = _File(family, run, cache)
            same = [other for other in distinct.values() if other.path == file.path]
            files[name] = same[0] if same else distinct.setdefault(name, file)
    for name, file in distinct.items():
        if file.measured:
            report(f"{name}: {file.progress()} from before, {shown_path(file.path)}")
    missing: dict[str, str] = {}
    share = 60 * costs.minutes / max(len(distinct), 1)
    planned = list(_planned(distinct, costs, share)) if share else []
    if planned or (share and any(file.disturbed() for file in distinct.values())):
        with open_lab(first, family) as lab:
            missing = _measure(lab, distinct, planned, costs.rounds, share, report)
            _retake(lab, distinct, costs.rounds, report)
    for name, file in distinct.items():
        if reason := missing.get(name) or file.lacking(family):
            refused |= {other: reason for other, each in files.items() if each is file}
    pairs = {
        name: Pair(name, runs[name], file.samples)
        for name, file in files.items()
        if name not in refused
    }
    return Table(family, pairs, refused)


class _File:
    """The samples of one runtime and format, and where they are kept."""

    def __init__(self, family: Family, run: Run, cache: Path) -> None:
        """Reads the samples that there are.

        Raises:
            UserError: the file is damaged.
        """
        self.run, self._cache, self._corners = run, cache, family.space.corners()
        key = conditions(family, run.device, run.quantizer)
        self.path = samples_file(cache, key)
        self.samples = read_samples(self.path, key) or Samples(key, 0)
        self.measured = {sample.sizes for sample in self.samples.found}

    def lacking(self, family: Family) -> str:
        """What a fit needs that was not measured; "" if nothing."""
        needed = [sizes for sizes in self._corners if sizes not in self.measured]
        missing = [sizes for sizes in needed if exportable(family, sizes, self.run)]
        if missing:
            return (
                f"{len(missing)} corners of costs.space are not measured, which a fit needs; set "
                "costs.minutes"
            )
        if len(self.measured) < LEAST:
            return f"a fit needs {LEAST} shapes, costs.space has {len(self.measured)} that fit"
        return ""

    def progress(self) -> str:
        """How many models are measured, of how many while a fit needs more."""
        done = len(self.measured.intersection(self._corners))
        if done == len(self._corners):
            return f"{len(self.measured)} models measured"
        return f"{done} of the {len(self._corners)} models measured that predictions need"

    def disturbed(self) -> list[Sizes]:
        """The shapes to measure again, if predictions are far off.

        Those of which the teacher took much longer than of others: something else ran meanwhile.
        """
        found = self.samples.found
        if len(found) < LEAST or Pair("", self.run, self.samples).worst_time <= NOISY:
            return []
        shortest = np.min([sample.baseline_ms for sample in found], axis=0)
        slow = [(np.array(each.baseline_ms) > DISTURBED * shortest).any() for each in found]
        return [sample.sizes for sample, odd in zip(found, slow, strict=True) if odd]

    def wants(self, sizes: Sizes, needed: bool, share: float) -> bool:
        """Whether a shape is to be measured: one that a fit needs, or within so many seconds."""
        return sizes not in self.measured and (needed or self.samples.seconds < share)

    def keep(self, lab: Lab, sample: Sample) -> None:
        """Adds a sample, in the place of an earlier one of its shape."""
        others = (each for each in self.samples.found if each.sizes != sample.sizes)
        found = (*others, sample)
        self.samples = replace(self.samples, baseline_bytes=lab.baseline_bytes, found=found)
        self.measured.add(sample.sizes)
        write_samples(self.samples, self._cache, self.path)

    def took(self, seconds: float) -> None:
        """Adds to the time that the samples took."""
        self.samples = replace(self.samples, seconds=self.samples.seconds + seconds)
        if self.samples.found:
            write_samples(self.samples, self._cache, self.path)


def _untried(runs: Mapping[str, Run]) -> dict[str, str]:
    """The formats that a table cannot have, and why."""
    refused = {}
    for name, run in runs.items():
        try:
            check_untrained(run)
        except UserError as error:
            refused[name] = str(error)
    return refused


def _planned(
    files: Mapping[str, _File], costs: Costs, share: float
) -> Iterator[tuple[Sizes, bool]]:
    """The shapes that some format has not measured yet, each with whether a fit needs it."""
    corners = costs.space.corners()
    for sizes in plan(costs.space, seed=0):
        needed = sizes in corners
        if any(file.wants(sizes, needed, share) for file in files.values()):
            yield sizes, needed


def measure_again(run: Run, table: Table, listed: Sequence[Candidate]) -> dict[int, Sample | str]:
    """What is measured of shapes with the rounds of a run, by place; no fit has seen it."""
    found: dict[int, Sample | str] = {}
    if listed:
        with open_lab(run, table.family) as lab:
            for place, each in enumerate(listed):
                pairs = {each.pair.name: each.pair.run}
                for _, sample in lab.measure(each.sizes, pairs, MIN_ROUNDS):
                    found[place] = sample if isinstance(sample, Sample) else str(sample)
    return found


def _measure(
    lab: Lab,
    files: Mapping[str, _File],
    planned: Sequence[tuple[Sizes, bool]],
    rounds: int,
    share: float,
    report: Report,
) -> dict[str, str]:
    """Measures shapes until each format has had its seconds; why some could not be measured."""
    if (occupied := busy()) is not None:
        report(f"the machine is busy, timings will be unreliable: {occupied}")
    reasons: dict[str, dict[Sizes, str]] = {name: {} for name in files}
    for sizes, needed in planned:
        wanted = {n: file for n, file in files.items() if file.wants(sizes, needed, share)}
        todo = {name: file.run for name, file in wanted.items()}
        began = time.perf_counter()
        for name, found in lab.measure(sizes, todo, rounds) if todo else ():
            if isinstance(found, UserError):
                reasons[name][sizes] = str(found)
                report(f"{name}: {found}")
            else:
                files[name].keep(lab, found)
                words = _words(found, lab.named(sizes), files[name].run)
                report(f"{name}: {files[name].progress()}; {words}")
        for file in wanted.values():  # an export that they share counts in equal parts
            file.took((time.perf_counter() - began) / len(wanted))
    return {
        name: next(iter(why.values()))
        for name, why in reasons.items()
        if why and not files[name].measured
    }


def _retake(lab: Lab, files: Mapping[str, _File], rounds: int, report: Report) -> None:
    """Measures once more what was measured while the machine was busy."""
    for name, file in files.items():
        for sizes in file.disturbed():
            began = time.perf_counter()
            for _, found in lab.measure(sizes, {name: file.run}, rounds):
                if isinstance(found, Sample):
                    file.keep(lab, found)
                    report(
                        f"{name}: measured again, as the teacher took over {DISTURBED:g} times as "
                        f"long as usual; {_words(found, lab.named(sizes), file.run)}"
                    )
            file.took(time.perf_counter() - began)


def _words(sample: Sample, named: Mapping[str, str], run: Run) -> str:
    """The speed-ups of a sample."""
    sizes = " ".join(f"{name}={named[name]}" for name in ("layers", "hidden", "heads", "neurons"))
    pairs = zip(run.device.benchmark.shapes, sample.speedup, strict=True)
    ratios = [f"{ratio:.1f} times at {batch}x{length}" for (batch, length), ratio in pairs]
    return f"{sizes}: speed-up {', '.join(ratios)}"
