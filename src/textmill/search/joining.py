"""``textmill sweep --join FOLDER``: a further worker of a search that another has begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from textmill.configuration.overrides import override_of
from textmill.errors import InputError
from textmill.search.remembering import SEARCH_FILE

FLAG = "--join"


def take_joined(argv: Sequence[str]) -> list[str]:
    """The command line with what a search was begun with in the place of ``--join FOLDER``.

    Raises:
        InputError: There is no such search.
    """
    arguments = list(argv)
    at = next((at for at, one in enumerate(arguments) if one.partition("=")[0] == FLAG), None)
    if at is None:
        return arguments
    _, equals, written = arguments.pop(at).partition("=")
    if not equals and at < len(arguments):
        written = arguments.pop(at)
    if not written:
        raise InputError(f"{FLAG} needs a folder", hint=f"write {FLAG} RUNS_DIR/sweeps/NAME")
    return [*_begun_with(Path(written), arguments), *arguments]


def _begun_with(folder: Path, given: Sequence[str]) -> list[str]:
    """The overrides of a search, without those that are given anew."""
    search = _read(folder)
    runs_dir = override_of("runs_dir", str(folder.absolute().parent.parent))
    new = {_key(one) for one in given}
    overrides = [one for one in search["overrides"] if _key(one) not in {*new, "runs_dir"}]
    config_dir = search.get("config_dir")
    return [*overrides, runs_dir, *(() if config_dir is None else ("--config-dir", config_dir))]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / SEARCH_FILE
    try:
        search = yaml.safe_load(path.read_text(encoding="utf-8"))
        name = search["sweep"]["name"]
        list(search["overrides"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(
            "there is no search", where=str(folder), hint="give a folder such as runs/sweeps/NAME"
        ) from error
    if (folder.absolute().name, folder.absolute().parent.name) != (name, "sweeps"):
        raise InputError(
            "the search's folder has been moved",
            where=str(folder),
            hint=f"bring it back to RUNS_DIR/sweeps/{name}",
        )
    return dict(search)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
