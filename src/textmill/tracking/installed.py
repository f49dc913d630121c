"""Whether the libraries of trackers are installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from textmill.errors import make_all
from textmill.installed import require_installed

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
    make_all(partial(require_installed, *_NEEDED[name], where=f"tracking={name}") for name in names)
