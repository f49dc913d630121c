"""Explanations in pages and on terminals: every word with its number, every text as text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from tests.runs_on_disk import write_run
from textmill.attribution import Mistake, write_mistakes
from textmill.explaining.record import Attribution
from textmill.explaining.words import Word
from textmill.report.attribution_text import print_attribution
from textmill.report.attributions import (
    MOST_UNSEEN,
    AttributionView,
    explanation_page,
)
from textmill.report.page import render
from textmill.report.writing import write_report

FINE = "a fine,  dull film"
HOSTILE = '<script>alert(1)</script> "><img src=x onerror=alert(1)> [red]&amp;\x1b[31m\u202e'


def attribution_html(attribution: Attribution) -> str:
    """The fragment that pages include."""
    return render("attribution.html.j2", view=AttributionView.of(attribution))


def explained(
    text: str = FINE,
    numbers: dict[str, float] | None = None,
    *,
    label: str = "good",
    gap: float = 0.0,
) -> Attribution:
    """Words of a text with the numbers given; only these are seen by the model."""
    given = {"a": 0.02, "fine": 2.0, ",": -0.01, "dull": -1.0, "film": 0.5}
    return Attribution((text,), label, 2.0 + gap, 0.49, words_of(text, numbers or given), 32, True)


def words_of(text: str, numbers: dict[str, float], side: int = 0) -> tuple[Word, ...]:
    words, end = [], 0
    for word, number in numbers.items():
        start = text.index(word, end)
        end = start + len(word)
        words.append(Word(word, start, end, number, side))
    return tuple(words)


def on_terminal(attribution: Attribution, **settings: object) -> str:
    file = io.StringIO()
    options = {"force_terminal": True, "color_system": "truecolor", "width": 200, **settings}
    print_attribution(attribution, Console(file=file, highlight=False, emoji=False, **options))  # type: ignore[arg-type]
    return file.getvalue()


def plainly(attribution: Attribution) -> str:
    return on_terminal(attribution, force_terminal=False, color_system=None)


class Marks(HTMLParser):
    """The words that are marked in a page, with class, style and title; and the text by class."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.marks: list[tuple[str, str, str, str]] = []
        self.paragraphs: list[str] = []
        self.tags: set[str] = set()
        self._mark: tuple[str, str, str] | None = None
        self._in_text = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag == "mark" and "title" in given:
            self._mark = (given["class"], given["style"], given["title"])
        if given.get("class") == "attributed":
            self._in_text = True
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "mark":
            self._mark = None
        self._in_text &= tag != "p"

    def handle_data(self, data: str) -> None:
        if self._in_text:
            self.paragraphs[-1] += data
        if self._mark:
            self.marks.append((data, *self._mark))


class TestPage:
    def test_each_word_is_marked_with_its_number(self) -> None:
        marks = Marks(attribution_html(explained())).marks
        assert marks == [
            ("a", "towards", "--strength: 0.01", "+0.020"),
            ("fine", "towards", "--strength: 1.00", "+2.000"),
            (",", "against", "--strength: 0.01", "-0.010"),
            ("dull", "against", "--strength: 0.50", "-1.000"),
            ("film", "towards", "--strength: 0.25", "+0.500"),
        ]

    def test_the_text_is_there_as_it_is_written(self) -> None:
        assert Marks(attribution_html(explained())).paragraphs == [FINE]

    def test_the_numbers_are_in_a_table_too_the_strongest_first(self) -> None:
        cells = re.findall(r'<td class="name" dir="auto">(.*?)</td>', attribution_html(explained()))
        assert cells == ["fine", "dull", "film", "a", ","]

    def test_the_check_and_the_scores_are_told(self) -> None:
        page = attribution_html(explained())
        assert "probability 0.881, log-odds +2.00; with every word hidden 0.620, +0.49" in page
        assert "The words add +1.51 in all, for a difference of +1.51 (32 steps)." in page
        assert "caution" not in page
        assert "gap of +0.30 is large" in attribution_html(explained(gap=0.3))

    def test_what_the_model_does_not_see_is_told_apart(self) -> None:
        text = "a fine film " + "x" * (MOST_UNSEEN + 50)
        page = attribution_html(explained(text, {"a": 1.0, "fine": 1.0}))
        assert f'<span class="unseen"> film {"x" * (MOST_UNSEEN - 6)}… (56 more characters)' in page
        assert "not seen by the model" in page
        assert "not seen by the model" not in attribution_html(explained())

    def test_nothing_in_a_text_or_a_label_becomes_markup(self) -> None:
        one = explained(HOSTILE, {"<": 1.0, "script": -1.0, "red": 2.0}, label=HOSTILE)
        for page in (attribution_html(one), explanation_page([one], HOSTILE)):
            assert {"img", "red"}.isdisjoint(Marks(page).tags)
            assert "<script>alert" not in page
            assert "&lt;" in page
            assert not {"\x1b", "\x00"} & set(page)

    def test_both_texts_of_a_pair(self) -> None:
        words = (*words_of("one", {"one": 1.0}), *words_of("two", {"two": -2.0}, side=1))
        page = attribution_html(Attribution(("one", "two"), "good", 0.0, 1.0, words, 32, False))
        assert Marks(page).paragraphs == ["one", "two"]
        assert [mark[2] for mark in Marks(page).marks] == ["--strength: 0.50", "--strength: 1.00"]
        assert "Second text" in page

    def test_a_text_without_words(self) -> None:
        page = attribution_html(Attribution(("",), "good", 0.0, 0.0, (), 32, False))
        assert "<details>" not in page

    def test_a_page_of_several_needs_nothing_else(self) -> None:
        page = explanation_page([explained(), explained(label="bad")], "runs/latest/model")
        assert [mark[0] for mark in Marks(page).marks] == ["a", "fine", ",", "dull", "film"] * 2
        assert page.startswith("<!DOCTYPE html>")
        assert "runs/latest/model" in page
        assert not re.search(r"""(src|href)=["']?https?:""", page)
        assert "prefers-color-scheme: dark" in page

    def test_a_run_s_report_explains_its_worst_mistakes(self, tmp_path: Path) -> None:
        run = write_run(tmp_path)
        assert 'id="explained"' not in write_report(run).read_text()
        several = Mistake(5, ["x", "y"], [], 2.0, explained(label="bad"))
        write_mistakes(run.attributions, [Mistake(3, "bad", "good", 3.25, explained()), several])
        page = write_report(run).read_text()
        assert "good instead of bad" in page
        assert "none instead of x, y" in page
        assert "loss 3.2500" in page
        assert len(Marks(page).marks) == 10


class TestTerminal:
    def test_colours_say_which_way_and_how_much(self) -> None:
        shown = on_terminal(explained())
        assert "\x1b[37;48;2;0;114;178mfine\x1b[0m" in shown
        assert "dull" in shown.split("\x1b[30;48;2;")[1]
        assert "a \x1b" in shown  # too weak for a colour
        assert "[+" not in shown

    @pytest.mark.parametrize("way", ["piped", "no_color"])
    def test_without_colours_there_are_numbers(
        self, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if way == "no_color":
            monkeypatch.setenv("NO_COLOR", "1")
            shown = re.sub(r"\x1b\[[01]?m", "", on_terminal(explained()))
        else:
            shown = plainly(explained())
        assert "\na fine[+2.00],  dull[-1.00] film[+0.50]\n" in shown
        assert "[+] towards good, [-] away from it" in shown
        assert "\x1b" not in shown

    def test_the_strongest_words_the_scores_and_the_check(self) -> None:
        lines = plainly(explained()).splitlines()
        assert lines[0] == (
            "good: probability 0.881, log-odds +2.00; with every word hidden 0.620, +0.49"
        )
        assert lines[4:9] == [
            *("  +2.00  fine", "  -1.00  dull", "  +0.50  film", "  +0.02  a", "  -0.01  ,")
        ]
        assert "The words add +1.51 in all, for a difference of +1.51 (32 steps)." in lines

    def test_what_the_model_does_not_see(self) -> None:
        one = explained("a fine film, seen not", {"a": 1.0, "fine": 1.0})
        assert "a[+1.00] fine[+1.00]{ film, seen not}" in plainly(one)
        assert "{} not seen by the model" in plainly(one)
        assert "\x1b[2;9m film, seen not\x1b[0m" in on_terminal(one)

    @pytest.mark.parametrize("coloured", [True, False])
    def test_nothing_in_a_text_or_a_label_steers_the_terminal(self, coloured: bool) -> None:
        text = f"{HOSTILE}\n\r\tend\x07\x9b2J"
        one = explained(text, {"<": 1.0, "[red]": -1.0, "\x1b[31m": 2.0}, label=HOSTILE)
        shown = on_terminal(one) if coloured else plainly(one)
        left = re.sub(r"\x1b\[[0-9;]*m", "", shown) if coloured else shown
        assert all(sign.isprintable() or sign == "\n" for sign in left)
        assert "[red]" in left
        if coloured:
            assert "\x1b[31m" not in shown

    def test_a_text_without_words(self) -> None:
        assert "add +0.00" in plainly(Attribution(("",), "good", 0.0, 0.0, (), 32, False))


def seen(view: AttributionView) -> Iterator[str]:
    return (one.text for one in view.texts[0] if one.word)


def test_stretches_give_the_whole_text() -> None:
    view = AttributionView.of(explained("  a fine,  dull film!  "))
    assert "".join(one.text for one in view.texts[0]) == "  a fine,  dull film!  "
    assert list(seen(view)) == ["a", "fine", ",", "dull", "film"]
    assert [one.text for one in view.texts[0] if one.unseen] == ["!  "]
