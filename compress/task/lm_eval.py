"""Tasks of EleutherAI's evaluation harness that ask for the likeliest ending of a text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pydantic.dataclasses import dataclass

from compress.config.errors import UserError, first_line
from compress.system.packages import require
from compress.task.components.ending_rows import Question
from compress.task.components.questions import EVALUATION, TRAIN, VALIDATION, Parts, QuestionTask

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

CHOICE, _ = OUTPUTS = ("multiple_choice", "loglikelihood")
SCORES = ("acc", "acc_norm")  # of the harness, which are those of `compress.problem.endings`


@final
@dataclass(frozen=True, kw_only=True)
class LmEval(QuestionTask):
    """A task of the harness: its prompts with its examples, its documents, its endings.

    `accuracy` is its `acc`, and `accuracy_by_length` its `acc_norm`; other metrics of the task are
    not computed, and a task without these is refused. Evaluation rows are those that
    the harness evaluates: of the task's test split, or else of its validation split. Where there is
    no train split, rows are held out of these.

    Attributes:
        name: of the task, or the path of its yaml file.
        path: a folder of task files beside the harness's own; null for none. What these files refer
            to, such as functions, is code that runs here.
    """

    name: str
    path: str | None

    def check(self) -> None:
        """Raises a UserError if there is no such task, or it asks for something else."""
        _ = self._task

    @property
    def several(self) -> bool:
        """Whether the task is one of multiple choice."""
        return bool(self._task.OUTPUT_TYPE == CHOICE)

    def questions(self) -> tuple[str, Parts, str]:
        """The documents of all of the task's splits."""
        task = self._task
        given = {EVALUATION: task.eval_docs}
        if task.has_test_docs() and task.has_validation_docs():
            given[VALIDATION] = task.validation_docs()
        if task.has_training_docs():
            given[TRAIN] = task.training_docs()
        parts = {role: [*self._questions(docs)] for role, docs in given.items()}
        counts = ", ".join(f"{len(part)} {role}" for role, part in parts.items())
        return task.task_name, parts, f"{task.task_name} of lm_eval ({counts})"

    @cached_property
    def _task(self) -> ConfigurableTask:
        require("task=lm_eval", "lm-eval", "lm_eval")
        from lm_eval.tasks import TaskManager

        if self.path is not None and not Path(self.path).is_dir():
            raise UserError(f"task.path: {self.path} is not a directory")
        file = self.name.endswith((".yaml", ".yml"))
        manager = TaskManager(include_path=self.path, include_defaults=not file)
        try:
            (task,) = manager.load(self.name)["tasks"].values()
        except KeyError as error:
            raise UserError(f"task.name: {first_line(error)}") from error
        except ValueError as error:
            raise UserError(
                f"task.name must be one task of lm_eval, {self.name} is a group, or fails: "
                f"{first_line(error)}"
            ) from error
        if task.OUTPUT_TYPE not in OUTPUTS or task.multiple_input or task.multiple_target:
            several = " with several inputs or targets" if task.OUTPUT_TYPE in OUTPUTS else ""
            raise UserError(
                f"task.name must be a task of {' or '.join(OUTPUTS)} with one target, "
                f"{self.name} is one of {task.OUTPUT_TYPE}{several}"
            )
        self._check_scores(task)
        return task

    def _check_scores(self, task: ConfigurableTask) -> None:
        """Raises a UserError for a task whose own figure is not accuracy."""
        if task.config.process_results is not None:
            raise UserError(
                f"task.name must be a task that the harness scores by acc, {self.name} has a "
                "function of its own for that (process_results)"
            )
        if task.config.metric_list is None:  # the harness's own choice has acc
            return
        means = {
            each["metric"]: each.get("aggregation", "mean") for each in task.config.metric_list
        }
        if not any(means.get(name) == "mean" for name in SCORES):
            raise UserError(
                f"task.name must be a task that the harness scores by the mean of "
                f"{' or '.join(SCORES)}, {self.name} is scored by {', '.join(map(str, means))}"
            )

    def _questions(self, docs: Iterable[dict[str, Any]]) -> Iterable[Question]:
        task, delimiter = self._task, self._task.config.target_delimiter
        for number, doc in enumerate(docs):
            answer = self._answer(number, doc)
            context = task.fewshot_context(
                doc, task.config.num_fewshot or 0, gen_prefix=task.doc_to_prefix(doc)
            )
            made = task.construct_requests(doc, context, metadata=(task.task_name, number, 1))
            pairs = [each.args for each in (made if isinstance(made, list) else [made])]
            # acc_mutual_info asks for the same endings once more, without the text.
            pairs = pairs[: len(task.doc_to_choice(doc))] if self.several else pairs
            whole, text = pairs[0][0], pairs[0][0].rstrip()
            # As the harness does: spaces at the end of a text are the ending's.
            endings = tuple(whole[len(text) :] + ending for _, ending in pairs)
            lengths = tuple(len(ending.removeprefix(delimiter)) for _, ending in pairs)
            yield Question(text, endings, answer, lengths)

    def _answer(self, number: int, doc: dict[str, Any]) -> int:
        """The place of the right choice, which the harness takes for none where it is no place.

        Raises:
            UserError: the right choice is not among the document's, as where labels are secret.
        """
        if not self.several:
            return 0
        target, choices = self._task.doc_to_target(doc), self._task.doc_to_choice(doc)
        if target in choices:
            return int(choices.index(target))
        if not isinstance(target, int) or not 0 <= target < len(choices):
            raise UserError(
                f"task.name={self.name}: document {number} has the answer {target!r}, expected one "
                f"of its {len(choices)} choices or their numbers from 0"
            )
        return target
