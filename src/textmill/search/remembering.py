"""What a search was begun with: it goes on with nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from textmill.errors import InputError
from textmill.safe_write import write_text
from textmill.tracking.flat import flattened

if TYPE_CHECKING:
    from optuna import Study

SEARCH_FILE = "search.yaml"
_CONFIG = "config"
# What may change while a search goes on.
CHANGEABLE = ("sweep.trials", "sweep.minutes", "sweep.keep", "runs_dir")
_ABSENT = object()


def remember(
    study: Study,
    folder: Path,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    config_dir: str | None,
) -> None:
    """Notes what a new search is begun with, or makes sure that an old one goes on with the same.

    Args:
        study: The search's study.
        folder: The search's folder, where it is written for people and for further workers.
        config: The whole configuration, resolved.
        overrides: The overrides as they were given.
        config_dir: The folder of the user's own YAML files.

    Raises:
        InputError: The search was begun with something else.
    """
    begun_with = study.user_attrs.get(_CONFIG)
    if begun_with is None:
        study.set_user_attr(_CONFIG, json.loads(json.dumps(dict(config))))
    else:
        _compare(begun_with, config, folder, study.study_name)
    if not (folder / SEARCH_FILE).exists() or begun_with is None:
        content = {"overrides": list(overrides), "config_dir": config_dir, **config}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(folder / SEARCH_FILE, text)


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path, name: str) -> None:
    old, new = flattened(before), flattened(json.loads(json.dumps(dict(now))))
    changed = [
        f"{key} was {_shown(old.get(key, _ABSENT))} and is {_shown(new.get(key, _ABSENT))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, _ABSENT) != new.get(key, _ABSENT) and not key.startswith(CHANGEABLE)
    ]
    if changed:
        raise InputError(
            f"the search {name} was begun with other settings: {'; '.join(changed)}",
            where=str(folder),
            hint="go on with the same, or begin another with sweep.name=NAME",
        )


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
