"""The page of a service in a browser, which may reach nothing but that service."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browsers import CHROMIUM, headless_browser, luminance
from tests.bundles import GOLDEN, MULTI, make_bundle
from tests.forks import in_fork
from tests.servers import Server, serving
from tests.waiting import wait_until
from textmill.labels import Labels
from textmill.predictor import Predictor

KEY = "a-key-of-some-length"
BEARER = {"Authorization": f"Bearer {KEY}"}
WIDTH_OF_PHONE = 360
HOSTILE = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with headless_browser() as running:
        yield running


@pytest.fixture(scope="module")
def bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = Labels(("bad", HOSTILE, "good", *(f"label {number}" for number in range(10))))
    return make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "model", labels)


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served"), bundle) as running:
        yield running


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a service's page; what it asks another host for, or complains of, fails the test."""
    wrong: list[str] = []

    def open_at(server: Server, **options: object) -> Page:
        page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url.startswith(server.url) or wrong.append(request.url),
        )
        page.goto(server.url)
        return page

    expect.set_options(timeout=60_000)
    yield open_at
    assert wrong == []


def test_typing_shows_the_labels_with_their_scores_and_the_words_behind_them(
    open_page: Open, server: Server, bundle: Path
) -> None:
    page = open_page(server)
    expect(page.locator("#first")).to_be_focused()
    page.keyboard.type("a wonderful film")
    (found,) = Predictor.from_bundle(bundle).predict(["a wonderful film"])
    expect(page.locator("#verdict")).to_have_text(str(found.label))
    rows = page.locator(".bars li")
    expect(rows).to_have_count(10)
    best = sorted(found.scores, key=lambda name: -found.scores[name])
    assert page.locator(".bars .name").all_inner_texts() == best[:10]
    scores = [f"{100 * found.scores[name]:.1f}%" for name in best[:10]]
    assert page.locator(".bars .score").all_inner_texts() == scores
    widths = page.locator(".bars .fill").evaluate_all(
        "fills => fills.map(fill => fill.offsetWidth / fill.parentElement.offsetWidth)"
    )
    assert widths == pytest.approx([found.scores[name] for name in best[:10]], abs=0.02)
    expect(page.locator("#explained")).to_have_text(str(found.label))
    expect(page.locator("#attribution mark")).to_have_text(["a", "wonderful", "film"])
    page.get_by_role("button", name="Show all labels").click()
    expect(rows).to_have_count(13)


def test_the_keyboard_alone_asks_why_not_another_label(open_page: Open, server: Server) -> None:
    page = open_page(server)
    page.keyboard.type("the plot is clever")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#words")).to_be_visible()
    third = page.locator(".bars button").nth(2)
    for _ in range(30):
        page.keyboard.press("Tab")
        if third.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    label = third.locator(".name").inner_text()
    expect(page.locator("#explained")).to_have_text(label)
    expect(third).to_have_attribute("aria-pressed", "true")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#words tbody tr")).to_have_count(4)


def test_an_example_is_one_click_away(open_page: Open, server: Server) -> None:
    page = open_page(server)
    example = page.locator(".examples button").first
    example.click()
    expect(page.locator("#first")).to_have_value(GOLDEN[0])
    expect(page.locator("#words")).to_be_visible()
    page.locator("#first").fill("")
    expect(page.locator("#labels")).to_be_hidden()


def test_markup_stays_text_and_what_the_model_does_not_see_is_marked(
    open_page: Open, server: Server
) -> None:
    page = open_page(server)
    text = f"{HOSTILE} 😀 wonderful " + "film " * 60
    page.locator("#first").fill(text)
    expect(page.locator("#words")).to_be_visible()
    assert page.locator("#attribution p").inner_text().strip() == text.strip()
    assert page.locator("#attribution .unseen").inner_text().strip().endswith("film")
    assert page.locator("main img, main script").count() == 0
    page.get_by_role("button", name="Show all labels").click()
    expect(page.locator(".bars .name", has_text=HOSTILE)).to_have_count(1)


def test_an_error_of_the_service_is_told_and_gone_with_the_next_answer(
    open_page: Open, server: Server
) -> None:
    page = open_page(server)
    expect(page.locator(".examples button").first).to_be_visible()

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"detail": "too much to do"}, headers={"Retry-After": "7"})

    page.route("**/predict", refuse)
    page.locator("#first").fill("a film")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("busy (too much to do). Try again in 7 s.")
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.abort())
    page.keyboard.press("Control+Enter")
    expect(problem).to_contain_text("can't be reached")
    page.unroute("**/predict")
    page.locator("#first").fill("x" * 30_000)
    expect(problem).to_contain_text("at most 20000 characters")
    page.locator("#first").fill("a film")
    expect(page.locator("#words")).to_be_visible()
    expect(problem).to_be_empty()


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_no_width_of_screen_makes_it_scroll_sideways(
    open_page: Open, server: Server, width: int
) -> None:
    page = open_page(server, viewport={"width": width, "height": 800})
    page.locator("#first").fill("a wonderful film with " + "averylongword" * 20)
    expect(page.locator("#words")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".bars .track").first.evaluate("track => track.offsetWidth") > 100


def test_a_phone_is_enough_for_all_of_it(open_page: Open, server: Server) -> None:
    phone = {"width": WIDTH_OF_PHONE, "height": 740}
    page = open_page(server, viewport=phone, is_mobile=True, has_touch=True)
    page.locator(".examples button").first.tap()
    expect(page.locator("#words")).to_be_visible()
    second = page.locator(".bars button").nth(1)
    second.tap()
    expect(page.locator("#explained")).to_have_text(second.locator(".name").inner_text())
    page.get_by_role("button", name="Show all labels").tap()
    expect(page.locator(".bars li")).to_have_count(13)
    expect(page.locator("main")).not_to_have_class("busy")
    page.locator("summary").tap()
    expect(page.locator("#words tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH_OF_PHONE
    boxes = page.locator("button:visible, summary:visible, textarea:visible").evaluate_all(
        """found => found.map(one => one.getBoundingClientRect()).map(
            box => ({left: box.left, right: box.right, height: box.height}))"""
    )
    assert len(boxes) > 15
    for box in boxes:
        assert box["left"] >= 0
        assert box["right"] <= WIDTH_OF_PHONE
        assert box["height"] >= 40  # What a finger hits.


def test_the_keyboard_reaches_all_there_is_on_a_phone(open_page: Open, server: Server) -> None:
    page = open_page(server, viewport={"width": WIDTH_OF_PHONE, "height": 740})
    page.locator("#first").fill("a wonderful film")
    expect(page.locator("#words")).to_be_visible()
    expect(page.locator(".examples button").first).to_be_visible()
    all_of_it = "button:visible, summary:visible, textarea:visible"
    seen = set()
    for _ in range(page.locator(all_of_it).count() + 2):
        seen.add(page.evaluate("document.activeElement.textContent"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
        page.keyboard.press("Tab")
    assert set(page.locator(all_of_it).evaluate_all("all => all.map(x => x.textContent)")) <= seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(open_page: Open, server: Server, scheme: str) -> None:
    page = open_page(server, color_scheme=scheme)
    page.locator("#first").fill("a wonderful film")
    expect(page.locator("#words")).to_be_visible()
    ground = luminance(page, "body", "background-color")
    for selector in ("h1", ".note", "#verdict", ".bars .name", ".examples button", "textarea"):
        bright, dim = sorted((luminance(page, selector, "color"), ground), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) > 4.5, selector


def test_a_key_unlocks_it(open_page: Open, bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, bundle, environment={"TEXTMILL_API_KEYS": KEY}) as server:
        page = open_page(server)
        field = page.get_by_label("API key")
        expect(field).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("doesn't know")
        field.fill(KEY)
        page.keyboard.press("Enter")
        expect(field).to_be_hidden()
        page.locator("#first").fill("a film")
        expect(page.locator("#words")).to_be_visible()
        server.send(signal.SIGTERM)


def test_a_key_that_is_taken_away_is_asked_for_and_what_was_typed_stays(
    open_page: Open, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    with serving(tmp_path, bundle, "--api-keys", file) as server:
        page = open_page(server)
        field = page.get_by_label("API key")
        field.fill(KEY)
        page.keyboard.press("Enter")
        expect(field).to_be_hidden()
        file.write_text(KEY[::-1])
        server.send(signal.SIGHUP)
        server.wait_for("keys taken")
        wait_until(lambda: server.get("/info", headers=BEARER).status_code == 401)
        page.locator("#first").fill("a wonderful film")
        expect(field).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("doesn't know this API key")
        field.fill(KEY[::-1])
        page.keyboard.press("Enter")
        expect(page.locator("#words")).to_be_visible()
        expect(page.locator("#first")).to_have_value("a wonderful film")
        expect(page.get_by_role("alert")).to_be_empty()


def test_what_the_service_refuses_is_told(open_page: Open, bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, bundle, "--max-body", 200, "--max-characters", 50) as server:
        page = open_page(server)
        problem = page.get_by_role("alert")
        for text, told in (("a" * 300, "413: the body has more than 200"), ("a" * 60, "422")):
            page.locator("#first").fill(text)
            expect(problem).to_contain_text(told)
            expect(page.locator("#words")).to_be_hidden()
        page.locator("#first").fill("a film")
        expect(page.locator("#words")).to_be_visible()
        expect(problem).to_be_empty()


def test_without_torch_words_are_hidden_one_by_one_and_the_page_says_so(
    open_page: Open, tiny_encoder: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    assert in_fork(["export", str(bundle)]) == 0
    with serving(tmp_path, bundle, "--form", "onnx") as server:
        page = open_page(server)
        page.locator("#first").fill("a wonderful film")
        expect(page.locator("#check")).to_contain_text("occlusion: each word is hidden alone")
        expect(page.locator("#served")).to_contain_text("onnx on cpu")
        expect(page.locator("#attribution mark")).to_have_text(["a", "wonderful", "film"])
        found = server.post("/explain", {"text": "a wonderful film"}).json()
        titles = page.locator("#attribution mark").evaluate_all("all => all.map(x => x.title)")
        assert [float(title) for title in titles] == pytest.approx(
            [word["contribution"] for word in found["words"]], abs=2e-3
        )


def test_pairs_and_several_labels(open_page: Open, tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(
        tiny_encoder, tmp_path / "bundle", MULTI, text_columns=("question", "answer")
    )
    with serving(tmp_path, bundle) as server:
        page = open_page(server)
        page.get_by_label("question").fill("a film")
        page.get_by_label("answer").fill("a wonderful story")
        expect(page.locator("#words")).to_be_visible()
        (found,) = Predictor.from_bundle(bundle).predict([("a film", "a wonderful story")])
        told = ", ".join(found.label) or "No label holds."
        expect(page.locator("#verdict")).to_have_text(told)
        expect(page.locator("#attribution p")).to_have_count(2)


def test_it_is_small_and_asks_nobody_else(server: Server) -> None:
    answer = server.get("/")
    assert len(answer.content) < 100_000
    assert "http://" not in answer.text
    assert "https://" not in answer.text
