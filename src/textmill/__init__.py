"""Textmill: from labelled text to a classifier in service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textmill.version import __version__

if TYPE_CHECKING:
    from textmill.predictor import Predictor, load

__all__ = ["Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Imports the predictor when it is first asked for, so that ``import textmill`` is instant."""
    if name in ("load", "Predictor"):
        from textmill import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'textmill' has no attribute {name!r}")
