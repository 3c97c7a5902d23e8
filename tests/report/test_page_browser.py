"""The page in a real browser, without a network: what is drawn, and what a reader can do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.records.schema import FinishedRun
from tests.records.test_schema import make_record
from tests.report.html.test_page import HOSTILE, page_of, record_with
from tests.report.test_points import at_shapes

selenium = pytest.importorskip("selenium", reason="selenium drives the browser")
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason="needs Chromium and chromedriver on the path"
)
EVIL = " ".join(HOSTILE)
NAME = EVIL.replace("/", "∕")

# Bokeh draws into shadow trees, which no selector of the document reaches.
FUNCTIONS = """
const every = (root) => [root, ...[...root.querySelectorAll("*")]
  .flatMap((e) => e.shadowRoot ? every(e.shadowRoot) : [])];
const all = (selector) => every(document).flatMap((r) => [...r.querySelectorAll(selector)]);
const models = [...Bokeh.documents[0]._all_models.values()];
const of = (type) => models.filter((m) => m.type === type);
const table = of("DataTable")[0], source = table.source;
const views = [...Bokeh.index];
"""


def run(pruner: str, ms: float, **changes: object) -> FinishedRun:
    base = at_shapes((1, 32), (1, 8), ms=ms)
    return replace(base, choices=base.choices | {"pruner": pruner}, **changes)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs at two shapes, one of them with hostile text everywhere."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    # In one section with the others: that is by task, teacher, rows, machine and device.
    evil = record_with(EVIL)
    choices = evil.choices | {"task": "rt", "teacher": "t"}
    evil = replace(evil, environment=make_record().environment, choices=choices)
    # Shipped only if much may be lost; the others' zeros save nothing.
    sizes = replace(run("neurons", 4.5).metrics, size_bytes=1500)
    steps = ({"stage": "teacher"},)
    larger = run("neurons", 4.5, config={"a": 1}, history=steps, metrics=sizes)
    path.write_text(
        page_of(
            a=run("wanda", 5.0), b=run("wanda", 4.0), c=run("heads", 2.0), d=larger, **{NAME: evil}
        ),
        encoding="utf-8",
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1400",
        f"--user-data-dir={profile}", "--disable-dev-shm-usage",
        # Else it looks for updates and its maker's services, on a page that needs no network.
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--disable-quic",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        driver.get(page.as_uri())
        ready = "return Bokeh.documents.length === 1 && Bokeh.documents[0].is_idle"
        WebDriverWait(driver, 60).until(lambda d: d.execute_script(ready))
        yield driver
    finally:
        driver.quit()


def ask(browser: Any, script: str, *arguments: object) -> Any:
    return browser.execute_script(FUNCTIONS + script, *arguments)


def severe(browser: Any) -> list[str]:
    """What was refused or broke since the last call."""
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]


def test_nothing_went_wrong_and_all_is_drawn(browser: Any) -> None:
    # An alert that is open would make every command fail.
    assert severe(browser) == []
    sizes = ask(browser, "return all('canvas').map((c) => [c.width, c.height])")
    assert len(sizes) >= 3
    assert all(width > 100 and height > 100 for width, height in sizes)
    colors = ask(
        browser,
        """return all('canvas').map((c) => {
          const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          return new Set(new Uint32Array(data.buffer)).size; })""",
    )
    # Each figure has an empty canvas on top, for what is being dragged.
    assert 2 * sum(each > 10 for each in colors) == len(colors)


def test_hostile_text_is_shown_and_is_no_element(browser: Any) -> None:
    for tag in ("img", "b", "svg[onload]", "[onerror]", "[onmouseover]"):
        assert ask(browser, f"return all({tag!r}).length") == 0
    cells = ask(browser, "return all('.slick-cell').map((c) => c.textContent)")
    assert NAME in cells, "the table has it as text"
    labels = ask(browser, "return all('label').map((c) => c.textContent)")
    assert any(HOSTILE[0] in label for label in labels), "and so has a filter"


def test_a_filter_changes_what_is_shown_in_plots_and_table(browser: Any) -> None:
    def shown() -> tuple[str, int]:
        count = ask(browser, "return of('Div').map((d) => d.text).find((t) => t.includes('runs'))")
        return count, ask(browser, "return all('.slick-row').length")

    def click(value: str) -> None:
        label = "all('label').find((l) => l.textContent === arguments[0])"
        ask(browser, f"{label}.querySelector('input').click()", value)

    assert shown() == ("5 of 5 runs shown", 5)
    click("wanda")
    assert shown() == ("3 of 5 runs shown", 3)
    kept = ask(browser, "return of('BooleanFilter')[0].booleans")
    assert kept == [False, False, True, True, True]
    click("wanda")
    assert shown() == ("5 of 5 runs shown", 5)


def test_a_click_in_the_table_selects_in_the_plots_and_back(browser: Any) -> None:
    ask(browser, "all('.slick-row')[1].querySelector('.slick-cell').click()")
    assert ask(browser, "return source.selected.indices") == [1]
    # All plots draw from this source.
    scatters = "of('GlyphRenderer').filter((r) => r.glyph.type === 'Scatter')"
    assert ask(browser, f"return {scatters}.filter((r) => r.data_source === source).length") >= 9
    ask(browser, "source.selected.indices = [2]")
    selected = "r.querySelector('.slick-cell.selected') !== null"
    rows = ask(browser, f"return all('.slick-row').map((r) => {selected})")
    assert rows == [False, False, True, False, False]
    ask(browser, "source.selected.indices = []")


def test_a_box_selects_the_runs_inside_it(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    plot = browser.find_elements(By.CSS_SELECTOR, ".plots > div")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    drag = ActionChains(browser).move_to_element_with_offset(plot, -150, -170)
    drag.click_and_hold().move_by_offset(250, 300).release().perform()
    assert ask(browser, "return source.selected.indices.length") > 0
    ask(browser, "source.selected.indices = []")


def test_pointing_at_a_run_says_all_of_it_as_text(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    # Where the hostile run is drawn, in pixels of the window.
    x, y = ask(
        browser,
        """const i = source.data.run.indexOf(arguments[0]);
        const figure = of('Figure')[0];
        const view = views.find((v) => v.model === figure);
        view.el.scrollIntoView({block: 'center'});
        const box = view.canvas_view.el.getBoundingClientRect();
        const frame = view.frame;
        return [box.left + frame.x_scale.compute(source.data.mb[i]),
                box.top + frame.y_scale.compute(source.data.score[i])];""",
        NAME,
    )
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(int(x), int(y))
    actions.perform()
    tooltip = ask(
        browser, "return all('.bk-tooltip-row-value').map((e) => e.textContent).join(' ')"
    )
    assert f"x={EVIL}" in tooltip, "its recipe"
    assert NAME in tooltip
    test_hostile_text_is_shown_and_is_no_element(browser)


def test_another_shape_swaps_the_times(browser: Any) -> None:
    # Each shape takes twice as long as the one before it.
    before = ask(browser, "return Array.from(source.data.latency)")
    ask(
        browser,
        """const select = all('select')[0];
        select.value = [...select.options].at(-1).value;
        select.dispatchEvent(new Event('change'));""",
    )
    after = ask(browser, "return Array.from(source.data.latency)")
    for old, new in zip(before[:3], after[:3], strict=True):
        assert new == pytest.approx(2 * old)
    titles = ask(browser, "return of('LinearAxis').map((a) => a.axis_label)")
    assert titles.count("latency (ms) at 1 × 8 tokens") == 2
    tables = "of('ColumnDataSource').map((s) => s.data)"
    star = "(d) => String(d.run).startsWith('teacher') && d.latency[0] === 20"
    stars = ask(browser, f"return {tables}.filter({star}).length")
    assert stars == 2, "the teacher's star moves too"


def test_another_loss_shows_another_recommendation(browser: Any) -> None:
    def shown() -> list[str]:
        hidden = "e.id.startsWith('choice-1-') && !e.hidden"
        script = f"return all('div').filter((e) => {hidden})"
        verdict = ".map((e) => e.querySelector('.verdict').textContent)"
        found: list[str] = ask(browser, f"{script}{verdict}")
        return found

    [before] = shown()
    assert before.startswith("Keep the teacher") or "too few to decide" in before
    ask(browser, "of('Slider')[0].value = of('Slider')[0].end")
    [after] = shown()
    assert after.startswith("Ship run d") or "too few" in after
    place = ask(browser, "return source.data.run.indexOf('d')")
    ring = ask(browser, "return of('IndexFilter')[0].indices")
    assert ring == ([place] if after.startswith("Ship") else [])
    ask(browser, "of('Slider')[0].value = 2")
    assert shown() == [before]


@pytest.mark.parametrize("width", [390, 800, 1300])
def test_nothing_is_wider_than_the_window(browser: Any, width: int) -> None:
    """What scrolls by itself, as a table of all runs, may be wider; the page may not.

    Nor is what a pointer over a plot showed before the window became narrow a part of it.
    """
    try:
        # A window of the browser is not as narrow as a telephone.
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wide = ask(
            browser,
            """return [...document.querySelectorAll('body *')]
              .filter((e) => !e.closest('.wide') && !e.closest('.bk-Tooltip'))
              .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
              .map((e) => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 60))""",
        )
        assert wide == []
        whole = ask(browser, "return [document.documentElement.scrollWidth, innerWidth]")
        assert whole[0] <= whole[1] == width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_paper_every_run_is_in_a_table_that_fits(browser: Any) -> None:
    """A4 with Chromium's margins is 718 px wide."""
    size = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        rows = ask(browser, "return all('.paper tbody th').map((e) => e.textContent)")
        assert sorted(rows) == sorted(["a", "b", "c", "d", NAME])
        wide = ask(
            browser,
            """return [...document.querySelectorAll('body *')]
              .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
              .map((e) => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 60))""",
        )
        assert wide == []
        assert ask(browser, "return all('.slick-row').filter((e) => e.offsetParent).length") == 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_was_asked_of_the_network(browser: Any) -> None:
    names = ask(browser, "return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in names if not name.startswith(("data:", "blob:"))] == []
    assert severe(browser) == [], "nor was anything refused while the page was used"
