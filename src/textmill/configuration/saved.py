"""A configuration that is there already, a run's or a file's, in the place of the defaults.

Each of its sections becomes a choice of its group, so that overrides, other choices and experiments
change it as they change the defaults.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from textmill.configuration.explanations import unknown_key
from textmill.configuration.files import BASE, SAVED, first_file, read_file
from textmill.configuration.origins import origins_in
from textmill.configuration.own_files import SUFFIXES, load_yaml
from textmill.configuration.resolvers import register_resolvers
from textmill.configuration.schema import SCHEMAS
from textmill.errors import InputError
from textmill.runs import Run, find_run, short_path
from textmill.tracking.flat import flattened

# Where a run's data and model may lie: keys with paths that started from the run's working folder.
_PATHS = ("data.path", "data.corrections", "model.path")
_DATA_FILES = ("data.train", "data.validation", "data.test")
_FLAG = "--config"

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Start:
    """A saved configuration that Hydra can start from.

    Args:
        config_name: What Hydra calls it.
        notes: What is different from how it was saved, in sentences.
    """

    config_name: str
    notes: tuple[str, ...]


def take_saved(argv: Sequence[str], config_name: str, tell: Callable[[str], None]) -> list[str]:
    """The command line for Hydra of one that may have ``--config RUN``.

    Args:
        argv: Overrides mixed with flags.
        config_name: The configuration whose place a saved one takes.
        tell: Told what is different from how it was saved, line by line.

    Raises:
        InputError: As `start_from`; or the flag can't be given like that.
    """
    given, rest = _take_flag(argv)
    if given is None:
        return rest
    if any(one.startswith("resume=") for one in rest):
        raise InputError(
            "a resumed run keeps its own configuration",
            where=f"--config {given}",
            hint="leave out this or resume",
        )
    start = start_from(given, config_name, _runs_dir(rest))
    for note in start.notes:
        tell(note)
    return [*rest, "--config-name", start.config_name]


def pin_saved(argv: Sequence[str]) -> list[str]:
    """The command line with the path from here of the very file that its ``--config`` means now.

    ``latest``, or a part of a name, may mean another run later.

    Raises:
        InputError: There is no such run.
    """
    given, rest = _take_flag(argv)
    if given is None:
        return rest
    path, _ = _find(given, _runs_dir(rest))
    return [*rest, _FLAG, os.path.relpath(path)]


def _runs_dir(overrides: Sequence[str]) -> Path:
    found = [one.partition("=")[2].strip("'\"") for one in overrides if one.startswith("runs_dir=")]
    return Path(*found[:1] or ["runs"])


def _take_flag(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """What ``--config`` was given, and the other arguments."""
    found, rest = [], []
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name != _FLAG:
            rest.append(argument)
        else:
            found.append(value if equals else next(arguments, ""))
    if len(found) > 1 or found == [""]:
        raise InputError(f"{_FLAG} takes one run", hint=f"write {_FLAG} RUN")
    return (found[0] if found else None), rest


def start_from(given: str, config_name: str, runs_dir: Path) -> Start:
    """Makes a saved configuration known to Hydra.

    Keys that it lacks, because it was saved before there were such keys, have today's defaults. A
    key that follows others by default, as the run's name follows the data's, goes on to do so where
    it did.

    Args:
        given: A run, as `find_run` knows it, or a YAML file with a whole configuration.
        config_name: The configuration whose place it takes.
        runs_dir: The folder of all runs.

    Raises:
        InputError: There is none, it can't be read, or it has keys that there aren't.
    """
    path, run = _find(given, runs_dir)
    values = _values_of_file(path) if run is None else _values_of_run(run)
    lacking = _check_keys(values, SCHEMAS[config_name], path)
    notes = [*_rebase(values, run)]
    default = _Defaults.of(config_name)
    notes += [f"{key} is not in {short_path(path)}, so its default holds" for key in lacking]
    for key in _following(values, default):
        section, last = _section(values, key)
        del section[last]
    name = f"{SAVED}{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]}"
    default.store(name, values, path.absolute())
    return Start(name, tuple(notes))


def source_of(config_name: str) -> str | None:
    """The identity of the run, or the file, that a configuration is from; None for the defaults."""
    if not config_name.startswith(SAVED):
        return None
    path = Path(str(ConfigStore.instance().load(f"{config_name}.yaml").provider))
    run = _run_of(path)
    return str(path) if run is None else run.read_manifest().get("identity", str(run.folder))


def _find(given: str, runs_dir: Path) -> tuple[Path, Run | None]:
    """The file of a configuration, and the run that it is of."""
    path = Path(given).expanduser()
    if path.is_file() or path.suffix.lower() in SUFFIXES:
        return path, _run_of(path)
    run = find_run(given, runs_dir)
    return run.config, run


def _run_of(path: Path) -> Run | None:
    """The run whose configuration a file is."""
    run = Run(path.parent)
    return run if path == run.config and run.manifest.is_file() else None


def _values_of_file(path: Path) -> Values:
    if not path.is_file():
        raise InputError(
            "there is no such file", where=f"--config {path}", hint="give a YAML file or a run"
        )
    loaded: Any = OmegaConf.to_container(load_yaml(path, str(path)), resolve=False)
    return {str(key): value for key, value in loaded.items()}


def _values_of_run(run: Run) -> Values:
    """The resolved values; nothing in them refers to others, even if it looks like that."""
    try:
        values = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            "the run's configuration can't be read", where=str(run.config), hint="is the run whole?"
        ) from error
    if not isinstance(values, dict):
        raise InputError("the run's configuration has no keys", where=str(run.config))
    return {str(key): _literal(value) for key, value in values.items()}


def _literal(value: Any) -> Any:  # noqa: ANN401 - whatever YAML may hold
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: f"{found[1]}{found[1]}\\${{", value)
    return value


def _check_keys(values: Values, schema: type[BaseModel], path: Path) -> list[str]:
    """Refuses unknown keys; returns those that are missing.

    What is wrong with the values is told when all is put together, since overrides may change them.
    """
    try:
        schema.model_validate(values)
    except ValidationError as error:
        kinds = {".".join(map(str, one["loc"])): one["type"] for one in error.errors()}
    else:
        return []
    origins = origins_in(path)
    problems = [
        unknown_key(key, schema, origins)
        if kind == "extra_forbidden"
        else InputError(f"{key} is a section", where=origins.file(key), hint="give keys in it")
        for key, kind in kinds.items()
        if kind in ("extra_forbidden", "model_type")
    ]
    if problems:
        raise InputError.all_of(problems)
    return [key for key, kind in kinds.items() if kind == "missing"]


def _rebase(values: Values, run: Run | None) -> Iterator[str]:
    """Has relative paths start where the run was made, and says so."""
    if run is None:
        return
    made_in = run.read_manifest().get("folder")
    if made_in is None or Path(made_in) == Path.cwd():
        return
    data = values.get("data", {})
    has_files = data.get("path") is None and data.get("source") == "files"
    for key in (*_PATHS, *(_DATA_FILES if has_files else ())):
        given = _value(values, key)
        rebased = [str(Path(made_in) / one) for one in _as_list(given)]
        if rebased and rebased != _as_list(given):
            section, name = _section(values, key)
            section[name] = rebased if isinstance(given, list) else rebased[0]
            yield f"{key} starts from the folder that the run was made in, {made_in}"


def _following(values: Values, default: _Defaults) -> list[str]:
    """The keys whose values are those that would follow from others by default."""
    register_resolvers()
    tree = OmegaConf.create(values)
    following = []
    for key, reference in default.references():
        trial = copy.deepcopy(tree)
        try:
            OmegaConf.update(trial, key, reference)
            if OmegaConf.select(trial, key) == OmegaConf.select(tree, key):
                following.append(key)
        except OmegaConfBaseException:
            continue
    return following


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a configuration starts from without a saved one.

    Args:
        main: Its file.
        sections: From each group that is chosen in it to the content of the group's base or, where
            there is none, of the choice.
        start: From each group to what a choice of it starts from.
    """

    main: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]
    start: Mapping[str, str]

    @classmethod
    def of(cls, config_name: str) -> _Defaults:
        main = yaml.safe_load(read_file(config_name))
        start = {group: first_file(group, choice) for group, choice in _choices(main)}
        sections = {group: yaml.safe_load(read_file(group, name)) for group, name in start.items()}
        return cls(main, sections, start)

    def references(self) -> Iterator[tuple[str, str]]:
        """The keys that follow others, each with the reference to these."""
        own = {key: value for key, value in self.main.items() if key not in ("defaults", "hydra")}
        for section, values in {"": own, **self.sections}.items():
            for key, value in flattened({section: values} if section else values).items():
                if isinstance(value, str) and "${" in value:
                    yield key, value

    def store(self, name: str, values: Values, path: Path) -> None:
        """Makes values known to Hydra that take the place of these.

        Args:
            name: What Hydra calls their choice in each group, and the configuration of them all.
            values: The values.
            path: The file that they are from.
        """
        store = ConfigStore.instance()
        entries = list(self.main["defaults"])
        for number, entry in enumerate(entries):
            group, choice = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
            if choice is None or group not in self.start or group not in values:
                continue
            entries[number] = {group: [name] if isinstance(choice, list) else name}
            # A group of which several are chosen has its base once, before all of them.
            base = [] if f"{group}/{BASE}" in entries else [self.start[group]]
            node = {"defaults": [*base, "_self_"], **values[group]}
            store.store(name, node, group=group, provider=str(path))
        top = {key: values.get(key, default) for key, default in self.main.items()}
        store.store(name, {**top, "defaults": entries}, provider=str(path))


def _choices(main: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The groups that a configuration chooses in, each with its choice, or the first of several."""
    for entry in main["defaults"]:
        if isinstance(entry, dict):
            group, choice = next(iter(entry.items()))
            if choice is not None and not group.startswith("override "):
                yield group, choice[0] if isinstance(choice, list) else choice


def _value(values: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - whatever YAML may hold
    """What stands under a dotted key; None where there is no such key."""
    found: Any = values
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _section(values: Values, key: str) -> tuple[Values, str]:
    """The section that a dotted key is in, and its name there."""
    section, _, name = key.rpartition(".")
    return (_value(values, section) if section else values), name


def _as_list(value: object) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one is not None]
