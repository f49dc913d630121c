"""Whether the libraries of trackers are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from textmill.errors import InputError, not_installed

# For each tracker, the modules that it needs, and what to install for them.
_NEEDED = {
    "wandb": (("wandb",), "wandb"),
    "tensorboard": (("tensorboard",), "textmill[tensorboard]"),
    "mlflow": (("mlflow", "sqlalchemy", "alembic"), "textmill[mlflow]"),
}


def check_installed(names: Sequence[str]) -> None:
    """Makes sure, before any work, that trackers can be started; imports nothing.

    Args:
        names: Of the trackers: ``wandb``, ``tensorboard``, ``mlflow``.

    Raises:
        InputError: The libraries of some are not installed; all at once.
    """
    problems = []
    for name in names:
        modules, install = _NEEDED[name]
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            problems.append(
                InputError(
                    not_installed(missing),
                    where=f"tracking={name}",
                    hint=f"pip install '{install}'",
                )
            )
    if problems:
        raise InputError.all_of(problems)
