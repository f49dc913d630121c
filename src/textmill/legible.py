"""Text from the data as it can be shown on one line, whatever is in it."""

from __future__ import annotations

_MOST = 60


def legible(text: str) -> str:
    """The text without characters that would steer a terminal, its spaces as they are."""
    spaced = "".join(" " if one.isspace() else one for one in text)
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in spaced)


def one_line(text: str) -> str:
    """The legible text with one space where there are several."""
    return legible(" ".join(text.split()))


def shorten(text: str, most: int = _MOST) -> str:
    """The beginning of a text, on one line.

    Args:
        text: The text.
        most: The most characters that are kept.
    """
    line = one_line(text[: 4 * most])
    return line if len(line) <= most else line[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
