"""Which runs an experiment launches, and what is refused before the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import ConfigError, UserError
from tests.experiment.sweeps import sweep

TINY = ("+experiment=distilbert_sst2_edge", "teacher=tiny_random")


def own(job: list[str], *keys: str) -> list[str]:
    return [each for each in job if each.startswith(keys)]


def test_a_run_for_each_row_with_what_makes_it(tmp_path: Path) -> None:
    jobs = sweep(tmp_path, *TINY, "quantizer=bf16", "experiment.row=student_int8,teacher")
    given = [*TINY, "quantizer=bf16"]  # which has the last word
    assert jobs == [
        [*given, "experiment.row=teacher", "experiment.cross=[]", "hydra.sweep.subdir=teacher"],
        [
            "student=layers", "student.keep=2", *given, "experiment.row=student_int8",
            "experiment.cross=[]", "hydra.sweep.subdir=student_int8",
        ],
    ]  # fmt: skip


def test_rows_are_crossed_with_the_sweeps_of_the_command_line(tmp_path: Path) -> None:
    jobs = sweep(tmp_path, *TINY, "seed=0,1", "experiment.row=teacher", "task.limit=8")
    assert [own(job, "seed", "hydra", "experiment.cross") for job in jobs] == [
        ["seed=0", "experiment.cross=['seed=0,1']", "hydra.sweep.subdir=teacher-0"],
        ["seed=1", "experiment.cross=['seed=0,1']", "hydra.sweep.subdir=teacher-1"],
    ]
    assert all("task.limit=8" in job for job in jobs)


@pytest.mark.parametrize(
    ("given", "tasks"),
    [
        ((), ["task=mrpc", "task=sst2", "task=qqp"]),
        (("task=qqp",), ["task=qqp"]),
        (("task=rte,cola",), ["task=rte", "task=cola"]),
    ],
)
def test_an_experiments_own_sweep_gives_way(
    given: tuple[str, ...], tasks: list[str], tmp_path: Path
) -> None:
    name = "+experiment=bert_glue_structured"
    jobs = sweep(tmp_path, name, "teacher=tiny_random", "experiment.row=baseline", *given)
    assert [own(job, "task=") for job in jobs] == [[task] for task in tasks]


def test_an_option_may_be_swept(tmp_path: Path) -> None:
    jobs = sweep(
        tmp_path, "+experiment=bert_sst2_six_rows", "teacher=tiny_random",
        "experiment.row=baseline_quantized", "experiment.options.quantizer=bf16,fp16",
    )  # fmt: skip
    assert [own(job, "quantizer") for job in jobs] == [["quantizer=bf16"], ["quantizer=fp16"]]


def test_every_run_that_cannot_be_is_named_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(tmp_path / "out", *TINY, "teacher.layers=1", "seed=0,1")
    line = str(caught.value)
    assert line.startswith("6 of 8 runs are invalid, and none was started: student (seed=0), ")
    assert "student_int8 (seed=1): student.keep=2: the teacher has only 1 layers" in line
    assert "teacher (seed" not in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hydra/sweeper=rows",), "hydra/sweeper=rows needs an experiment: +experiment=…"),
        ((*TINY, "experiment.row=best"), "experiment.row must be among teacher, student, stud"),
        ((*TINY, "seed=interval(0,1)"), "experiment.cross takes lists, choices and ranges"),
        ((*TINY, "+experiment.gaols={}"), "experiment must have cross, goals, metric, name"),
        (
            (*TINY, "experiment.rows.student=['seed=choice(1,2)']"),
            "a row is one run; sweeps go into experiment.cross",
        ),
    ],
)
def test_mistakes(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        sweep(tmp_path, *arguments)
    assert words in str(caught.value)
