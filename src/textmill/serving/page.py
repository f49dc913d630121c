"""The page on which a person tries the classifier."""

from __future__ import annotations

import functools

from textmill.report.page import inlined, render


@functools.cache
def service_page() -> bytes:
    """The page; it needs nothing but the service that it comes from."""
    assets = inlined("service.js", "style.css", "service.css")
    return render("service.html.j2", **assets, connects=True).encode()
