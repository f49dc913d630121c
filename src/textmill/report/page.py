"""Pages that need nothing but themselves: one file, with its style and script inside."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_SCRIPT = "tables.js"
_STYLE = "style.css"
_MINUTE, _HOUR = 60, 3600


def render(template: str, **values: object) -> str:
    """Fills a template in; all that isn't marked as HTML is escaped.

    Args:
        template: The name of a file in ``templates/``, one that extends ``base.html.j2``.
        values: What the template asks for.
    """
    return _environment().get_template(template).render(**values)


def inlined(script: str, *styles: str) -> dict[str, str]:
    """What a page has inside: a script, the digest by which its policy knows it, and a style.

    Args:
        script: The name of a file in ``templates/``.
        styles: Such names, too; the later ones have the last word.
    """
    code = _read(script)
    return {
        "style": Markup("\n".join(map(_read, styles))),  # noqa: S704 - our own
        "script": Markup(code),  # noqa: S704 - our own
        "script_digest": base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(),
    }


def number(value: float) -> str:
    """A number for people: four decimals at most, fewer in large ones."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "none" if math.isnan(value) else str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.1f}"
    return f"{value:.1e}" if 0 < size < 0.0001 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """A time in the two units that matter."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def size(count: float) -> str:
    """Bytes, in binary units."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("textmill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_legible,
    )
    environment.filters |= {"number": number, "duration": duration, "size": size}
    environment.globals |= {**inlined(_SCRIPT, _STYLE), "connects": False}
    return environment


def _legible(value: object) -> object:
    """Text without characters that HTML doesn't allow or UTF-8 doesn't have."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else _stand_in(c) for c in value)


def _stand_in(character: str) -> str:
    forbidden = ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000
    return "\N{REPLACEMENT CHARACTER}" if forbidden else character


def _read(name: str) -> str:
    return resources.files("textmill.report").joinpath("templates", name).read_text("utf-8")
