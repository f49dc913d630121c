"""Choices of a group that are the user's own YAML files, wherever these lie: ``data=./mine.yaml``.

Hydra finds the choices of a group by name. So each file is put under a name of its own into
Hydra's store of configurations, which also goes along to processes on other machines, and the
override is given that name instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from textmill.configuration.files import BASE, CONFIG_PACKAGE, group_choices, read_file
from textmill.errors import InputError, did_you_mean

SUFFIXES = (".yaml", ".yml")
# Groups of which a choice may set any key, whether or not it has a package in its first lines.
GLOBAL_GROUPS = ("experiment", "sweep")
# How a path begins that can't be a name.
_PATH_START = ("/", "./", "../", "~")
# Paths that Hydra's overrides take without quotes.
_PLAIN = re.compile(r"[\w./+@%~-]+")
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)\s*")


@dataclass(frozen=True, slots=True, eq=False)
class OwnFile:
    """A file that was chosen in a group.

    Args:
        group: The group, such as ``data``.
        written: The choice as it was given.
        path: The file.
        package: Where in the configuration its keys go; None is the group's own place.
        node: What is in it.
    """

    group: str
    written: str
    path: Path
    package: str | None
    node: DictConfig

    @property
    def name(self) -> str:
        """What the choice is called in Hydra; no two files are called the same."""
        stem = re.sub(r"\W", "_", self.path.stem)
        return f"{stem}-{hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """A command line whose own files Hydra can find.

    Args:
        argv: The command line for Hydra.
        files: From how Hydra calls a file, such as ``data/mine-1a2b3c4d``, to the file.
        written: From the file's name in Hydra to the choice as it was given, in quotes if need be.
    """

    argv: tuple[str, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    def as_given(self, text: str) -> str:
        """An override or a message of Hydra with the files as they were given."""
        for name, written in self.written.items():
            text = re.sub(rf"(?:[\w/]+/)?{name}(?:\.yaml)?", written.replace("\\", r"\\"), text)
        return text

    def told_as_given(self, error: InputError) -> InputError:
        """The error of Hydra's with the files as they were given."""
        return InputError.all_of(InputError(self.as_given(line)) for line in error.problems)


def is_file_choice(choice: object) -> bool:
    """Whether a choice is the path of a file, and not a name."""
    return isinstance(choice, str) and (
        choice.lower().endswith(SUFFIXES)
        or choice.startswith(_PATH_START)
        or ("/" in choice and Path(choice).exists())
    )


def adopt(argv: Sequence[str], overrides: Iterable[Override]) -> OwnFiles:
    """Makes the files among the choices known to Hydra.

    Args:
        argv: The command line.
        overrides: The overrides in it, parsed.

    Raises:
        InputError: A file isn't there, or holds no part of a configuration; all problems at once.
    """
    found: dict[str, OwnFile] = {}
    replaced: dict[str, str] = {}
    problems: list[InputError] = []
    for override in overrides:
        try:
            files = {one.written: one for one in _read_all(override)}
        except InputError as error:
            problems.append(error)
            continue
        if files:
            replaced[str(override.input_line)] = _renamed(override, files)
            found |= {one.name: one for one in files.values()}
    if problems:
        raise InputError.all_of(problems)
    store = ConfigStore.instance()
    for name, one in found.items():
        store.store(name, one.node, group=one.group, package=one.package, provider=str(one.path))
    return OwnFiles(
        tuple(replaced.get(argument, argument) for argument in argv),
        {f"{one.group}/{name}": one.path for name, one in found.items()},
        {name: _as_value(one.written) for name, one in found.items()},
    )


def check_folder(folder: Path) -> Iterator[InputError]:
    """What is wrong with a folder of the user's own files, one folder a group.

    A file that is called like one of Textmill's would be left unused by Hydra; and if it were used,
    the same words would mean something else for others.
    """
    where = f"--config-dir {folder}"
    if not folder.is_dir():
        yield InputError("there is no such folder", where=where, hint="give a folder")
        return
    groups = [group for group in (*group_choices(), "hydra") if (folder / group).is_dir()]
    if not groups:
        yield InputError(
            "the folder has none in it that is called like a group",
            where=where,
            hint=f"put data sets into {folder / 'data'}, or give a single file, as data=FILE.yaml",
        )
    packaged = resources.files(CONFIG_PACKAGE)
    for path in sorted(folder.glob("**/*.yaml")):
        if not _is_readable(path):
            yield InputError("the YAML can't be read", where=str(path), hint="save it in UTF-8")
        if packaged.joinpath(*path.relative_to(folder).parts).is_file():
            yield InputError(
                f"{path} is called like a file of Textmill's", hint="give it another name"
            )


def _is_readable(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def choices_in(value: object) -> Iterator[str]:
    """Every name in what a group was given: one, a list, or several of these to try in turn."""
    if isinstance(value, ChoiceSweep):
        value = value.list
    if isinstance(value, list):
        for inner in value:
            yield from choices_in(inner)
    elif isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value


def _read_all(override: Override) -> list[OwnFile]:
    """The files among the choices of a group.

    Raises:
        InputError: Some can't be used.
    """
    group = override.key_or_group
    if group not in group_choices() and not group.startswith("hydra/"):
        return []
    files, problems = [], []
    for choice in dict.fromkeys(choices_in(override.value())):
        if is_file_choice(choice):
            try:
                files.append(_read(group, choice))
            except InputError as error:
                problems.append(error)
    if problems:
        raise InputError.all_of(problems)
    return files


def _read(group: str, written: str) -> OwnFile:
    path, where = Path(written).expanduser(), f"{group}={written}"
    if path.is_dir():
        raise InputError(
            f"{written} is a folder",
            where=where,
            hint="give a YAML file in it; --config-dir takes a folder with a folder of files for "
            "each group",
        )
    if not path.exists():
        raise InputError(f"there is no file {written}", where=where, hint=_nearest(group, written))
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{written} is not a YAML file", where=where, hint="give one, FILE.yaml")
    node = load_yaml(path, written)
    if "defaults" not in node and _starts_from_base(group):
        node = DictConfig({"defaults": [BASE, "_self_"], **node})
    return OwnFile(group, written, path.absolute(), _package(group, path), node)


def load_yaml(path: Path, written: str) -> DictConfig:
    """Reads a file of keys as Hydra would.

    Args:
        path: The file.
        written: How it was given.

    Raises:
        InputError: It can't be read, or holds no keys.
    """
    try:
        node: Any = OmegaConf.load(path)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(
            "the YAML can't be read", where=f"{written}{line}", hint=error.problem
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        what = f"the file can't be read ({reason})" if reason else "the file holds no YAML"
        raise InputError(what, where=written, hint="give a file of KEY: VALUE") from error
    if not node or not isinstance(node, DictConfig) or _is_text(node):
        what = "is empty" if not node else "holds no keys"
        raise InputError(f"the file {what}", where=written, hint="write KEY: VALUE in its lines")
    return node


def _is_text(node: DictConfig) -> bool:
    """Whether a file held mere text, which OmegaConf takes for a key without a value."""
    [value, *others] = node.values()
    return value is None and not others


def _starts_from_base(group: str) -> bool:
    """Whether the choices of a group that come with Textmill start from its base."""
    choices = group_choices().get(group, [])
    opening = yaml.safe_load(read_file(group, choices[0])) if choices else {}
    return BASE in opening.get("defaults", [])


def _package(group: str, path: Path) -> str | None:
    """The package in the comments that a file opens with."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _PACKAGE.fullmatch(line.strip()):
            return found[1]
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return "_global_" if group in GLOBAL_GROUPS else None


def _nearest(group: str, written: str) -> str:
    path = Path(written).expanduser()
    choices = group_choices().get(group, [])
    if path.stem in choices:
        return f"did you mean {group}={path.stem}?"
    folder = written[: len(written) - len(path.name)]
    siblings = sorted(path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    if siblings:
        return did_you_mean(written, [f"{folder}{one.name}" for one in siblings])
    return f"give the path of a YAML file, or choose one of {', '.join(choices)}"


def _as_value(written: str) -> str:
    """A path as an override's value."""
    return (
        written if _PLAIN.fullmatch(written) else QuotedString(written, Quote.double).with_quotes()
    )


def _renamed(override: Override, files: Mapping[str, OwnFile]) -> str:
    """The override with the names that its files have in Hydra."""

    def renamed(value: Any) -> Any:  # noqa: ANN401 - whatever an override may hold
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        text = value.text if isinstance(value, QuotedString) else value
        return files[text].name if isinstance(text, str) and text in files else value

    value = override._value
    if not isinstance(value, ChoiceSweep):
        element = replace(override, _value=renamed(value)).get_value_element_as_str()
        return f"{override.get_key_element()}={element}"
    elements = (
        replace(override, _value=renamed(inner)).get_value_element_as_str() for inner in value.list
    )
    text = f"choice({','.join(elements)})"
    return f"{override.get_key_element()}={f'shuffle({text})' if value.shuffle else text}"
