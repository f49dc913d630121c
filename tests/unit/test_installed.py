"""A tracker whose library is missing is told before any work."""

from __future__ import annotations

import importlib.util

import pytest

from textmill import installed
from textmill.errors import InputError
from textmill.tracking.installed import check_installed


def test_what_is_installed_passes() -> None:
    check_installed([])
    check_installed(["tensorboard", "mlflow"])


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"tensorboard", "sqlalchemy", "alembic"}
    found = importlib.util.find_spec
    monkeypatch.setattr(
        installed, "find_spec", lambda name: None if name in missing else found(name)
    )
    with pytest.raises(InputError) as caught:
        check_installed(["tensorboard", "mlflow"])
    assert caught.value.problems == (
        "tensorboard is not installed, in tracking=tensorboard: "
        "pip install 'textmill[tensorboard]'",
        "sqlalchemy and alembic are not installed, in tracking=mlflow: "
        "pip install 'textmill[mlflow]'",
    )
