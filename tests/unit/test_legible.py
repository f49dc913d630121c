from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from textmill.legible import legible, one_line, shorten


@given(st.text())
def test_a_short_form_is_printable_and_on_one_line(text: str) -> None:
    short = shorten(text)
    assert len(short) <= 60
    assert short == "" or short.isprintable()


@given(st.text())
def test_legible_text_keeps_its_length(text: str) -> None:
    assert len(legible(text)) == len(text)
    assert legible(text) == "" or legible(text).isprintable()


def test_text_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in shorten("\x1b[2Jgone") + legible("\x1b[2Jgone") + one_line("\x1b[2J")


def test_what_is_longer_ends_in_an_ellipsis() -> None:
    assert shorten("x" * 100) == "x" * 59 + "…"
    assert one_line(" a \n\t b ") == "a b"
