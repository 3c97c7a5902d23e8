from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compress.records.collect import Collection
from compress.records.schema import RunRecord
from compress.records.scores import SCORES
from compress.report.html.page import render_page
from compress.report.recommend import advise
from compress.report.sections import sections
from tests.records.test_schema import evaluated_by, make_failed, make_record, shippable
from tests.report.test_points import at_shapes

ROOT = Path("sweep")
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"'&`<b onmouseover='alert(3)'>",
    "{{7*7}}",
    "<%= 1 %>",
    "{% raw %}",
    "]]>--><svg onload=alert(4)>",
    "$$\\href{javascript:alert(5)}{x}$$",
)
# An address is loaded by these; others, such as those in Bokeh's licences, are only text.
LOADING = ("src", "href", "srcset", "data", "action", "poster", "formaction")


class Markup(HTMLParser):
    """What a browser makes of a page: its elements, its scripts and its text.

    `HTMLParser` reads what is inside script and style elements as they do: up to their end tags.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def page_of(broken: tuple[str, ...] = (), **records: RunRecord) -> str:
    """The page of runs by name."""
    runs = tuple((ROOT / name, record) for name, record in records.items())
    collection = Collection(runs, broken, (ROOT / "unfinished",))
    advice = [advise(section, ROOT) for section in sections(collection.ok)]
    return render_page(collection, advice, ROOT, f"{len(collection.ok)} ok")


def record_with(text: str) -> RunRecord:
    """One that has the text wherever a record has text of a user."""
    base = make_record(
        choices=dict.fromkeys(("teacher", "student", "pruner", "task", "device"), text),
        overrides=("pruner.x=1", f"teacher.path={text}"),
        config={"pruner": {"x": text}, "teacher": {"path": text}},
        model=text,
    )
    environment = replace(
        base.environment, device=text, machine=text, busy=text, governor=text, versions={text: text}
    )
    return replace(
        base,
        environment=environment,
        data=replace(base.data, source=text),
        metrics=replace(base.metrics, runtime=text, precision=text),
    )


def page_with(text: str) -> str:
    """A page with the text in every place; two runs differ, so that there are filters."""
    first = record_with(text)
    other = replace(
        first,
        choices=first.choices | {"pruner": "none"},
        metrics=replace(first.metrics, runtime="torch"),
    )
    failed = make_failed(text)
    infeasible = replace(failed, status="infeasible")
    # A folder's name may have anything but a slash in it.
    name = text.replace("/", "∕")
    return page_of((text,), **{name: first, "other": other, "f": failed, "i": infeasible})


@pytest.fixture(scope="module")
def hostile() -> str:
    return page_with(" ".join(HOSTILE))


def test_hostile_text_makes_no_element_and_no_script(hostile: str) -> None:
    ours, theirs = Markup(hostile), Markup(page_with("harmless"))
    assert [tag for tag, _ in ours.elements] == [tag for tag, _ in theirs.elements]
    assert [list(each) for _, each in ours.elements] == [list(each) for _, each in theirs.elements]
    assert len(ours.scripts) == 3
    for text in HOSTILE:
        assert text in ours.text, "it is there, as text"


def test_only_our_own_scripts_may_run_and_nothing_is_loaded(hostile: str) -> None:
    found = Markup(hostile)
    [policy] = [each["content"] for _, each in found.elements if "http-equiv" in each]
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    digests = [hashlib.sha256(script.encode()).digest() for script in found.scripts]
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert sorted(rules["script-src"]) == sorted(["'unsafe-eval'", *allowed])
    assert rules["img-src"] == ["data:", "blob:"]
    assert "connect-src" not in rules, "left to default-src"
    addresses = [
        (tag, value) for tag, each in found.elements for name, value in each.items()
        if name in LOADING or name.startswith("on")
    ]  # fmt: skip
    assert all(tag == "a" and str(value).startswith(("#", "./")) for tag, value in addresses)
    styles = re.findall(r"<style>(.*?)</style>", hostile, re.DOTALL)
    assert not any("url(" in style or "@import" in style for style in styles)


def test_runs_of_different_machines_are_sections_with_plots_of_their_own() -> None:
    base = make_record()
    other = replace(base, environment=replace(base.environment, machine="cpu Y"))
    page = Markup(page_of(a=base, b=other))
    found = [each["id"] for tag, each in page.elements if tag == "section"]
    assert found == ["section-1", "section-2", "excluded"]
    assert page.text.count("cpu Y; cpu, 2 threads; 1 run") == 1
    assert "do not compare" in page.text


def test_no_good_run_is_a_page_with_the_reasons_and_no_script() -> None:
    page = Markup(page_of(broken=("a is not valid JSON",), a=make_failed()))
    assert page.scripts == []
    for words in ("nothing to recommend", "Failed: 1", "Unfinished: 1", "a is not valid JSON"):
        assert words in page.text


def test_long_lists_are_folded_and_name_every_run() -> None:
    failed = {f"f{i}": make_failed(f"e{i % 11}") for i in range(11)}
    same = {f"s{i}": make_failed("same") for i in range(12)}
    few = dict(list(failed.items())[:10])
    for records, folded in ((few, 0), (failed, 1), (same, 1)):
        page = Markup(page_of(**records))
        assert [tag for tag, _ in page.elements].count("details") == folded
        assert all(name in page.text for name in records)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Its model: sweep/a/model"),
        (
            {"model": None},
            "Its model was deleted after measuring; the command recreates it. Its record: sweep/a",
        ),
        (
            {
                "overrides": ("pruner=wanda", "teacher.path=a b", "search.name=x"),
                "config": {"pruner": {}, "teacher": {}},
            },
            "python run.py pruner=wanda 'teacher.path=a b'copy",
        ),
    ],
)
def test_how_to_get_a_models_files_is_said(changes: dict[str, object], words: str) -> None:
    assert words in Markup(page_of(a=shippable(make_record(**changes)))).text


def test_figures_that_are_missing_are_no_obstacle() -> None:
    base = make_record()
    bare = dict.fromkeys(("precision", "zipped_bytes", "resident_bytes", "peak_memory_bytes"))
    a = replace(base, metrics=replace(base.metrics, **bare), model=None)
    page = Markup(page_of(a=a, b=at_shapes((1, 8)), c=at_shapes((1, 32), (1, 8))))
    assert "are left out" in page.text
    assert "NaN" not in page.text


def test_a_thousand_runs_are_less_than_five_megabytes() -> None:
    runs = {}
    for i in range(1000):
        choices = {"teacher": "t", "task": "rt", "pruner": f"p{i % 12}"}
        runs[f"r{i}"] = make_record(0.5 + i / 3000, 1000 + i, 1 + i / 100, choices=choices)
    assert len(page_of(**runs).encode()) < 5_000_000


@pytest.mark.parametrize(
    ("metric", "values", "header"),
    [
        ("spearman", (0.9, 0.8), "Spearman correlation on the test rows (95 %)<"),
        ("perplexity", (20.0, 2000.0), "perplexity on the test rows (95 %); lower is better<"),
    ],
)
def test_a_page_of_another_score(metric: str, values: tuple[float, ...], header: str) -> None:
    page = page_of(**{f"r{i}": evaluated_by(metric, v, values[0]) for i, v in enumerate(values)})
    assert header in page
    assert "accuracy" not in Markup(page).text
    assert '"title":"accuracy"' not in page
    assert f'"title":"{SCORES[metric].words}"' in page
