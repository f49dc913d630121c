"""The report in a browser, opened from disk with the network off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.browsers import CHROMIUM, headless_browser, luminance
from tests.runs_on_disk import TAGS, write_run
from tests.searches import LATENCY, MCC, make_search, make_trial
from tests.waiting import wait_until
from textmill.labels import Labels
from textmill.report.search_page import write_search_report
from textmill.report.writing import write_report

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
CHARTS_OF_SPLITS, CHARTS_OF_TRAINING = 2 * 8, 6

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@dataclass
class Opened:
    """A page and all that it did."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def table(self, section: str, number: int = 0) -> Locator:
        return self.page.locator(f"#{section} table").nth(number)

    def column(self, table: Locator, heading: str) -> list[str]:
        """What the cells of a column say, of the rows that are shown."""
        headings = [text.strip() for text in table.locator("thead th").all_inner_texts()]
        place = next(i for i, text in enumerate(headings) if text.startswith(heading))
        cells = table.locator(f"tbody tr:not([hidden]) > :nth-child({place + 1})")
        return cells.all_inner_texts()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with headless_browser() as running:
        yield running


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    runs_dir = tmp_path_factory.mktemp("runs")
    hostile = Labels((SCRIPT, IMAGE, "<b>good</b>"))
    runs = {
        "single": write_run(runs_dir, name="single"),
        "several": write_run(runs_dir, name="several", labels=TAGS),
        "hostile": write_run(runs_dir, name="hostile", labels=hostile, texts=[SCRIPT, IMAGE]),
    }
    pages = {name: write_report(run) for name, run in runs.items()}
    pages["search"] = runs_dir / "search.html"
    trials = [make_trial(number, number / 9, 5.0, run=IMAGE) for number in range(9)]
    search = make_search([*trials, make_trial(9, state="pruned")], MCC, LATENCY, name=SCRIPT)
    write_search_report(pages["search"], search)
    return pages


def opened(browser: Browser, report: Path, **options: object) -> Opened:
    context = browser.new_context(offline=True, **options)  # type: ignore[arg-type]
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.messages.append(message.text))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("dialog", lambda dialog: (found.dialogs.append(dialog.message), dialog.dismiss()))
    found.page.goto(report.as_uri())
    return found


@pytest.mark.parametrize("name", ["single", "several", "hostile", "search"])
def test_it_opens_without_a_complaint_or_a_request(
    browser: Browser, reports: dict[str, Path], name: str
) -> None:
    found = opened(browser, reports[name])
    assert found.messages == []
    assert found.requests == [reports[name].as_uri()]


@pytest.mark.parametrize("name", ["single", "several", "hostile"])
def test_every_plot_is_drawn_and_has_a_name_of_its_own(
    browser: Browser, reports: dict[str, Path], name: str
) -> None:
    charts = opened(browser, reports[name]).page.get_by_role("img")
    drawn = charts.evaluate_all(
        """charts => charts.map(chart => ({
          name: chart.querySelector(":scope > title").textContent,
          smallest: Math.min(chart.getBoundingClientRect().width, chart.clientHeight),
          paths: chart.querySelectorAll("path").length,
          texts: chart.querySelectorAll("text").length,
        }))"""
    )
    assert len(drawn) == CHARTS_OF_SPLITS + CHARTS_OF_TRAINING
    assert len({chart["name"] for chart in drawn}) == len(drawn)
    for chart in drawn:
        assert chart["smallest"] > 150, chart
        assert chart["paths"] > 4, chart
        assert chart["texts"] > 4, chart


def test_a_click_sorts_a_table_and_another_turns_it_round(
    browser: Browser, reports: dict[str, Path]
) -> None:
    found = opened(browser, reports["single"])
    table = found.table("mistakes")
    losses = [float(text) for text in found.column(table, "Loss")]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 5
    header = table.locator("th", has_text="Loss")
    header.get_by_role("button").click()
    assert [float(text) for text in found.column(table, "Loss")] == sorted(losses)
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert [float(text) for text in found.column(table, "Loss")] == losses
    assert header.get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts_too_and_words_go_by_the_alphabet(
    browser: Browser, reports: dict[str, Path]
) -> None:
    found = opened(browser, reports["single"])
    table = found.table("mistakes")
    table.locator("th", has_text="Loss").get_by_role("button").click()
    table.locator("th", has_text="Text").get_by_role("button").focus()
    found.page.keyboard.press("Enter")
    texts = [text.lower() for text in found.column(table, "Text")]
    assert texts == sorted(texts, key=lambda text: re.split(r"(\d+)", text)[0])
    assert [
        table.locator("th[aria-sort]").count(),
        table.locator("th").first.get_attribute("aria-sort"),
    ] == [1, "ascending"]


def test_cells_without_a_number_come_last_in_either_direction(
    browser: Browser, reports: dict[str, Path]
) -> None:
    found = opened(browser, reports["single"])
    table = found.table("slices")
    values = found.column(table, "Macro-F1")
    assert "" in values
    for _ in range(2):
        table.locator("th", has_text="Macro-F1").get_by_role("button").click()
        shown = found.column(table, "Macro-F1")
        assert shown[-values.count("") :] == [""] * values.count("")


def test_settings_are_sorted_as_numbers(browser: Browser, reports: dict[str, Path]) -> None:
    found = opened(browser, reports["search"])
    table = found.table("trials")
    table.locator("th", has_text="optimizer.lr").get_by_role("button").click()
    rates = found.column(table, "optimizer.lr")
    assert {"0.01", "1e-05"} <= set(rates)
    assert [float(text) for text in rates] == sorted(float(text) for text in rates)


def test_points_of_a_search_are_seen(browser: Browser, reports: dict[str, Path]) -> None:
    charts = opened(browser, reports["search"]).page.locator("#slices-1 svg")
    dots = charts.first.locator("path[style*='stroke-linecap: round']").first
    assert dots.evaluate("path => path.isPointInStroke(path.getPointAtLength(0))")
    assert charts.count() == 2


def test_the_keyboard_reaches_what_is_wider_than_a_phone(
    browser: Browser, reports: dict[str, Path]
) -> None:
    page = opened(browser, reports["search"], viewport={"width": 360, "height": 800}).page
    wide = page.locator("figure.wide")
    wide.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    wait_until(lambda: wide.evaluate("figure => figure.scrollLeft") > 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_typing_filters_the_rows_and_says_how_many(
    browser: Browser, reports: dict[str, Path]
) -> None:
    found = opened(browser, reports["single"])
    table = found.table("mistakes")
    total = len(found.column(table, "Text"))
    found.page.locator("#mistakes input").first.focus()
    found.page.keyboard.type("FILM great")
    texts = found.column(table, "Text")
    assert 0 < len(texts) < total
    assert all("film" in text and "great" in text for text in texts)
    assert (
        found.page.locator("#mistakes output").first.inner_text() == f"{len(texts)} of {total} rows"
    )
    found.page.locator("#mistakes input").first.fill("")
    assert len(found.column(table, "Text")) == total


def test_markup_in_texts_and_labels_stays_text(browser: Browser, reports: dict[str, Path]) -> None:
    found = opened(browser, reports["hostile"])
    assert any(SCRIPT in text for text in found.column(found.table("samples"), "Text"))
    assert {SCRIPT, IMAGE, "<b>good</b>"} == set(found.column(found.table("results", 2), "Label"))
    assert found.page.locator("svg text", has_text=SCRIPT).count() > 0
    assert found.page.locator("img, b, main script").count() == 0
    assert (found.dialogs, found.messages) == ([], [])


@pytest.mark.parametrize("name", ["single", "search"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_ground_in_light_and_dark(
    browser: Browser, reports: dict[str, Path], name: str, scheme: str
) -> None:
    page = opened(browser, reports[name], color_scheme=scheme).page
    ground = luminance(page, "body", "background-color")
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("h1", "td", "th button", ".note", "nav a", "svg text"):
        property_name = "fill" if selector.startswith("svg") else "color"
        bright, dim = sorted((luminance(page, selector, property_name), ground), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) > 4.5, selector


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_no_width_of_screen_makes_the_page_scroll_sideways(
    browser: Browser, reports: dict[str, Path], width: int
) -> None:
    for name in ("several", "search"):
        page = opened(browser, reports[name], viewport={"width": width, "height": 800}).page
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_shows_tables_whole_and_no_controls(
    browser: Browser, reports: dict[str, Path]
) -> None:
    page = opened(browser, reports["single"], color_scheme="dark").page
    page.emulate_media(media="print")
    assert luminance(page, "body", "background-color") == pytest.approx(1)
    assert not page.locator(".filter").first.is_visible()
    assert not page.locator("nav").is_visible()
    heights = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map(e => [e.scrollHeight, e.clientHeight])"
    )
    assert all(whole == shown for whole, shown in heights)


def test_without_scripts_everything_is_there(browser: Browser, reports: dict[str, Path]) -> None:
    found = opened(browser, reports["single"], java_script_enabled=False)
    assert len(found.column(found.table("mistakes"), "Text")) > 5
    assert found.page.get_by_role("img").count() == CHARTS_OF_SPLITS + CHARTS_OF_TRAINING


def test_the_contents_lead_to_every_section(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["single"]).page
    links = page.locator("nav a")
    targets = [str(link.get_attribute("href")).removeprefix("#") for link in links.all()]
    assert targets == page.locator("main section").evaluate_all("all => all.map(one => one.id)")
    links.last.click()
    assert page.locator("#reproduce h2").is_visible()
