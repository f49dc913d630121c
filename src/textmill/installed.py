"""Whether packages are installed that not everybody needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from textmill.errors import InputError


def require_installed(
    modules: Sequence[str], install: str, *, where: str | None = None, otherwise: str | None = None
) -> None:
    """Makes sure, before any work, that modules are installed; imports none of them.

    Args:
        modules: Their names.
        install: What brings them, as pip is told it.
        where: What needs them.
        otherwise: What can be done without them, as an instruction.

    Raises:
        InputError: Some are not installed.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        hint = f"pip install '{install}'"
        raise InputError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            where=where,
            hint=hint if otherwise is None else f"{hint}, or {otherwise}",
        )
