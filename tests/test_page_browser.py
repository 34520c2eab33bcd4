"""The page of a run in a real browser: headless Chromium, no network. `make test-browser` runs this."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_runs import finish_run, make_problem, make_recipe, make_run, make_trace

from mixdistill.cards.page import make_page
from mixdistill.records import Problem, Trace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MIXES = {"long": {"long": 1.0}, "mix": {"long": 0.2, "short": 0.8}}
HOSTILE = (
    "</script><script>window.hit = 1</script><img src='http://127.0.0.1:9/x' onerror='window.hit = 2'>"
    r" $\text{<img src=x onerror=window.hit=3>}$ $\href{javascript:window.hit=4}{x}$ <math><mi>m</mi></math>"
)

LACKING = (
    "there is no Chromium here; Debian has it as the package chromium"
    if CHROMIUM is None
    else None
    if find_spec("playwright")
    else "playwright is not installed; the extra `browser` has it"
)
pytestmark = pytest.mark.skipif(LACKING is not None, reason=LACKING or "nothing is lacking")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not work for root, as in containers; the pages here are our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of which every test asks that it said nothing on the console and asked nobody for anything."""
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    yield page
    assert said == []
    page.close()


def traces_of(problem: Problem, response: str | None = None, reasoning: str | None = None) -> list[Trace]:
    """A long and a short trace."""
    return [
        replace(make_trace(problem, style, style, response=response), reasoning=reasoning)
        for style in ("long", "short")
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of twelve problems; every third short trace is wrong."""
    folder, recipe = tmp_path_factory.mktemp("page"), make_recipe(MIXES)
    problems = [make_problem(number) for number in range(12)]
    traces = [
        trace
        for problem in problems
        for trace in traces_of(
            problem, rf"We add, so $x^2 = \frac{{1}}{{2}}$ and $5. {problem.problem_id}", "Let me see."
        )
    ]
    wrong = {trace.trace_id: "incorrect" for trace in traces[1::6]}
    run = make_run(folder / "run", problems, traces, wrong)  # type: ignore[arg-type]
    finish_run(recipe, run)
    return written(folder, make_page(recipe, run))


def written(folder: Path, page: str) -> str:
    (folder / "page.html").write_text(page, encoding="utf-8")
    return (folder / "page.html").as_uri()


def opened(page: "Page", address: str) -> "Page":
    page.goto(address)
    page.wait_for_selector("section.question")
    return page


def expect_count(page: "Page", told: str) -> None:
    """Waits for it: a search takes its time."""
    page.locator("#count").get_by_text(told, exact=True).wait_for()
    assert page.inner_text("#count") == told


def expect_cards(page: "Page", n: int) -> None:
    page.locator(f".traces:not(:has(.card:nth-child({n + 1}))) > .card:nth-child({n})").wait_for()


def test_a_page_opens_with_its_numbers_and_plots(page: "Page", address: str) -> None:
    opened(page, address)

    assert page.inner_text("#about") == "12 problems, 24 traces, 2 mixes"
    assert page.inner_text("#count") == "12 problems, 24 traces shown"
    assert page.locator("#plots svg").count() == 3
    assert page.locator("#tables tbody tr").first.locator("td").all_inner_texts()[:5] == [
        "long", "long", "12", "100%", "76% to 100%",
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_maths_is_drawn_and_money_is_not(page: "Page", address: str) -> None:
    opened(page, address)

    response = page.locator(".response").first
    assert response.locator("math mfrac mn").all_text_contents() == ["1", "2"]
    assert response.locator("math").count() == 1
    assert "and $5." in response.inner_text()


def test_columns_of_maths_are_aligned_and_a_box_has_a_border(page: "Page", tmp_path: Path) -> None:
    problem = make_problem(1)
    response = r"\begin{align*}a&=b\\c&=d\end{align*} and \boxed{7} and $\text{<b style=color:red>}$"
    run = make_run(tmp_path / "run", [problem], [make_trace(problem, "long", "long", response=response)])
    opened(page, written(tmp_path, make_page(make_recipe(MIXES), run)))

    cells = page.locator(".response mtr").first.locator("mtd")
    styles = cells.evaluate_all("all => all.map(cell => getComputedStyle(cell).textAlign)")
    assert [align for align in styles if align in ("right", "left")] == ["right", "left"]
    box = page.locator(".response mrow.box")
    assert box.evaluate("box => getComputedStyle(box).borderTopWidth") == "1px"
    assert (page.locator(".response mtext").text_content() or "").replace("\xa0", " ") == "<b style=color:red>"


def test_filters_change_what_is_counted_and_shown(page: "Page", address: str) -> None:
    opened(page, address).select_option("#filter-status", label="incorrect")

    assert page.inner_text("#count") == "4 problems, 4 traces shown"
    expect_cards(page, 1)
    assert page.inner_text(".card .status") == "✗ incorrect"
    page.get_by_text("Show the 1 trace that the filters leave out").click()
    expect_cards(page, 2)
    page.select_option("#filter-teacher", label="long")
    assert page.inner_text("#count") == "0 problems, 0 traces shown"


def test_a_search_finds_words_of_a_trace(page: "Page", address: str) -> None:
    wanted = make_problem(7).problem_id
    opened(page, address).fill("#search", wanted.upper())

    expect_count(page, "1 problem, 2 traces shown")
    assert page.inner_text(".question .mono") == wanted
    page.fill("#search", "me SEE")
    expect_count(page, "12 problems, 24 traces shown")
    page.locator("details.fold[open]").nth(1).wait_for()
    assert page.evaluate("[...CSS.highlights.get('found')].map(String)") == ["me see", "me see"]


def test_keys_go_through_problems_and_open_reasoning(page: "Page", address: str) -> None:
    opened(page, address).keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")

    page.get_by_text("Problem 2 of 12").wait_for()
    assert page.evaluate("location.hash") == f"#{make_problem(1).problem_id}"
    assert page.locator("details.fold[open]").count() == 0
    page.keyboard.press("r")
    assert page.locator("details.fold[open] .text").all_inner_texts() == ["Let me see."] * 2


def test_a_link_leads_to_its_problem(page: "Page", address: str) -> None:
    opened(page, f"{address}#{make_problem(9).problem_id}")

    page.get_by_text("Problem 10 of 12").wait_for()
    assert "What is 9 + 2?" in page.inner_text(".question")


def test_hostile_text_stays_text(page: "Page", tmp_path: Path) -> None:
    deep = "$" + "x^{" * 700 + "x" + "}" * 700 + "$"
    problem = replace(make_problem(1), problem=HOSTILE, subject=HOSTILE, source=HOSTILE, reference=HOSTILE)
    other = replace(make_problem(2), subject="other")
    traces = traces_of(problem, HOSTILE + deep, HOSTILE) + traces_of(other)
    run = make_run(tmp_path / "run", [problem, other], traces)

    opened(page, written(tmp_path, make_page(make_recipe(MIXES), run)))
    page.keyboard.press("r")
    page.fill("#search", "onerror")
    expect_count(page, "1 problem, 2 traces shown")

    assert (
        page.locator(".question > .text").inner_text().startswith("</script><script>window.hit = 1</script><img")
    )
    assert "<math><mi>m</mi></math>" in page.locator(".response").first.inner_text()
    assert page.locator("img, main a[href^=javascript], main script, iframe").count() == 0
    assert page.evaluate("window.hit") is None


def test_a_run_without_verdicts_says_what_to_run(page: "Page", tmp_path: Path) -> None:
    problem = make_problem(1)
    run = make_run(tmp_path / "run", [problem], traces_of(problem))
    run.verdicts.unlink()

    opened(page, written(tmp_path, make_page(make_recipe(MIXES), run)))

    assert page.inner_text("#missing").splitlines()[0] == "No trace is judged yet: run mixdistill verify."
    assert page.locator(".status").all_inner_texts() == ["○ not judged"] * 2


def test_ten_thousand_traces_open_and_can_be_searched(page: "Page", tmp_path: Path) -> None:
    line = "So we get $x_{{{}}} = \\frac{{{}}}{{7}}$ and go on with a step that says {}.\n"
    problems = [make_problem(number) for number in range(2500)]
    traces = []
    for number, problem in enumerate(problems):
        for sample in (0, 1):
            body = "".join(line.format(step, number + step, number * step) for step in range(30))
            for style in ("long", "short"):
                traces.append(make_trace(problem, style, style, sample=sample, response=f"{body} end {number}!"))
    run = make_run(tmp_path / "run", problems, traces)

    opened(page, written(tmp_path, make_page(make_recipe(MIXES), run)))

    assert page.inner_text("#count") == "2,500 problems, 10,000 traces shown"
    assert page.locator("#rows a").count() < 60
    page.locator("#list").evaluate("list => list.scrollTop = list.scrollHeight")
    page.get_by_text("What is 2499 + 2?").click()
    page.get_by_text("Problem 2,500 of 2,500").wait_for()
    page.fill("#search", "end 1234!")
    expect_count(page, "1 problem, 4 traces shown")
