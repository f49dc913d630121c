"""Pages need nothing but themselves, and show what is in them as text."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from textmill.report.page import duration, number, render, size


def page(**values: object) -> str:
    blank = {"title": "A page", "kind": "Kind", "head": "", "body": "", "foot": "", "contents": []}
    return render("base.html.j2", **{**blank, **values})


def test_everything_is_escaped_that_is_not_marked_as_html() -> None:
    text = page(title='<script>"&', body=Markup("<em>bold</em>"))
    assert "<title>&lt;script&gt;&#34;&amp;</title>" in text
    assert "<em>bold</em>" in text


def test_characters_that_html_lacks_are_replaced_and_others_kept() -> None:
    text = page(title="a\0b\x1b\ud800c\u0085d\u200de\u202ef 積\n\tg")
    assert "a\ufffdb\ufffd\ufffdc\ufffdd\u200de\u202ef 積\n\tg" in text
    text.encode("utf-8")


def test_only_the_pages_own_script_may_run_and_nothing_may_be_fetched() -> None:
    text = page()
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_contents_list_the_sections() -> None:
    assert '<a href="#results">Results &amp; more</a>' in page(
        contents=[("results", "Results & more")]
    )


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("base.html.j2", title="A page")


def test_a_page_is_the_same_each_time() -> None:
    assert page() == page()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, "12,345"),
        (0.0, "0.0000"),
        (0.84056603, "0.8406"),
        (-0.5, "-0.5000"),
        (0.00009, "9.0e-05"),
        (12.34567, "12.3457"),
        (328.318, "328.3"),
        (53579.98, "53,580"),
        (float("nan"), "none"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_four_decimals_at_most(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (328.3, "5 min 28 s"), (7300, "2 h 1 min")],
)
def test_times_have_the_units_that_matter(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(12, "12 bytes"), (2048, "2 KiB"), (512 * 2**20, "512 MiB"), (23.54 * 2**30, "23.5 GiB")],
)
def test_sizes_are_in_binary_units(count: float, shown: str) -> None:
    assert size(count) == shown
