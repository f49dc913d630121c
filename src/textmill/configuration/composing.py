"""From overrides on the command line to a checked configuration, by Hydra and the schema."""

from __future__ import annotations

import copy
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
import yaml
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from textmill.configuration.contradictions import contradictions, known_part
from textmill.configuration.explanations import (
    explain_composition,
    explain_interpolation,
    explain_validation,
    known_keys,
    not_given,
    unknown_key,
)
from textmill.configuration.files import CONFIG_PACKAGE
from textmill.configuration.launchers import prefer_own_launchers
from textmill.configuration.origins import FindOrigins, Origins, find_origins
from textmill.configuration.overrides import check_overrides, parse_flags
from textmill.configuration.own_files import OwnFiles
from textmill.configuration.resolvers import register_resolvers
from textmill.configuration.saved import source_of
from textmill.configuration.schema import SCHEMAS, Section
from textmill.errors import InputError

ConfigT = TypeVar("ConfigT", bound=Section)

# The keys that have a part in a problem, and the error.
Problem = tuple[tuple[str, ...], InputError]
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)[},]")


@dataclass(frozen=True, slots=True)
class Composed(Generic[ConfigT]):
    """A configuration ready for a verb.

    Args:
        config: The checked configuration.
        resolved: The same as plain containers, all interpolations resolved.
        overrides: The overrides as they were given.
        config_dir: The folder of the user's own files, as it was given.
        base: The identity of the run, or the file, that it started from instead of the defaults.
        of_hydra: The overrides of Hydra's own keys.
    """

    config: ConfigT
    resolved: dict[str, Any]
    overrides: tuple[str, ...]
    config_dir: str | None = None
    base: str | None = None
    of_hydra: tuple[str, ...] = ()


class _Carry(BaseException):
    """Carries an exception of the task through Hydra, which would print it itself."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A composed configuration that may be wrong.

    Args:
        cfg: The configuration, its interpolations as they are.
        find_origins: Finds where its keys were set.
    """

    cfg: DictConfig
    find_origins: FindOrigins


def run_with_hydra(
    argv: Sequence[str],
    config_name: str,
    task: Callable[[Composed[Any]], None],
    parts: Collection[str] | None = None,
) -> None:
    """Composes the configuration that ``argv`` asks for, checks it, and gives it to ``task``.

    With ``--cfg job`` it is printed instead; Hydra's other flags are answered by Hydra.

    Args:
        argv: Overrides mixed with Hydra's flags.
        config_name: The file that the configuration starts from.
        task: What is done with it.
        parts: The top keys that the task reads; None is all.

    Raises:
        InputError: The configuration is wrong; all problems found are told together.
    """
    schema = SCHEMAS[config_name]
    own = check_overrides(argv, schema)
    flags = parse_flags(own.argv)
    asked = (flags.multirun, flags.info, flags.shell_completion, flags.hydra_help)
    if any(asked) or flags.cfg in ("hydra", "all"):
        _run_by_hydra(own, flags, config_name, task, parts)
        return
    unchecked = _compose(own, flags, config_name)
    checked = check_given(unchecked.cfg, schema, own, parts, find=unchecked.find_origins)
    if flags.cfg == "job":
        _print_job(unchecked.cfg, schema, flags.package, resolve=flags.resolve)
    else:
        task(replace(checked, config_dir=flags.config_dir))


def _run_by_hydra(
    own: OwnFiles,
    flags: Namespace,
    config_name: str,
    task: Callable[[Composed[Any]], None],
    parts: Collection[str] | None,
) -> None:
    """Does what Hydra's flags ask for, with Hydra's own main function."""
    command_line = list(sys.argv)
    schema = SCHEMAS[config_name]
    checked: list[Composed[Any]] = []

    @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_PACKAGE}", config_name=config_name)
    def composed(cfg: DictConfig) -> None:
        try:
            one = check_given(cfg, schema, own, parts)
            checked.append(replace(one, config_dir=flags.config_dir))
        except Exception as error:
            raise _Carry(error) from error

    register_resolvers()
    prefer_own_launchers()
    # Without this variable Hydra prints its errors and exits; with it, it raises them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra wants the overrides together.
    apart = [argument for argument in own.argv if argument not in flags.overrides]
    sys.argv = [command_line[0], *apart, *flags.overrides]
    try:
        with told_by_schema(schema, own):
            composed()
    except _Carry as carried:
        raise carried.error from carried.error.__cause__
    finally:
        sys.argv = command_line
    if flags.multirun and not checked:
        raise InputError(
            "only textmill train does it in other processes", hint="leave out hydra/launcher"
        )
    # Outside of Hydra, which would print what the task raises, and which a task may open anew.
    for one in checked:
        task(one)


@contextmanager
def told_by_schema(schema: type[Section], own: OwnFiles) -> Iterator[None]:
    """Tells in one line what Hydra or OmegaConf refuses, by the keys that there are.

    Args:
        schema: What the configuration must become.
        own: The command line.

    Raises:
        InputError: They refuse something.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise own.told_as_given(explain_composition(error, schema, own.argv)) from error


def compose(argv: Sequence[str], config_name: str) -> Unchecked:
    """Composes the configuration that ``argv`` asks for.

    Args:
        argv: Overrides mixed with Hydra's flags; of these, ``--config-dir`` counts.
        config_name: The file that the configuration starts from.

    Raises:
        InputError: It can't be composed.
    """
    own = check_overrides(argv, SCHEMAS[config_name])
    return _compose(own, parse_flags(own.argv), config_name)


def _compose(own: OwnFiles, flags: Namespace, config_name: str) -> Unchecked:
    name = flags.config_name or config_name
    register_resolvers()
    prefer_own_launchers()
    version.setbase("1.3")
    with told_by_schema(SCHEMAS[config_name], own):
        opened = Hydra.create_main_hydra2("textmill", search_path(flags.config_dir))
        try:
            cfg = opened.compose_config(name, list(flags.overrides), RunMode.RUN)
        finally:
            GlobalHydra.instance().clear()
    HydraConfig.instance().set_config(cfg)
    with flag_override(cfg, ["struct", "readonly"], [False, False]):
        del cfg["hydra"]
    loader = opened.config_loader
    return Unchecked(cfg, partial(find_origins, loader, name, tuple(flags.overrides), own.files))


def search_path(config_dir: str | None) -> ConfigSearchPath:
    """Where Hydra looks for files: in the package, and in the user's folder, if there is one."""
    path = create_config_search_path(f"pkg://{CONFIG_PACKAGE}")
    if config_dir is not None:
        folder = f"file://{Path(config_dir).absolute()}"
        path.prepend("command-line", folder, SearchPathQuery(provider="schema"))
    return path


def check_given(
    cfg: DictConfig,
    schema: type[ConfigT],
    own: OwnFiles,
    parts: Collection[str] | None = None,
    *,
    find: FindOrigins | None = None,
) -> Composed[ConfigT]:
    """Checks the configuration that Hydra has composed now, with the overrides as they were given.

    Args:
        cfg: The configuration.
        schema: What it must become.
        own: The command line.
        parts: As for `check`.
        find: As for `check`; None is for while Hydra is open.

    Raises:
        InputError: As `check`.
    """
    find = find or partial(_find_given_origins, own)
    checked = check(cfg, schema, overrides_as_given(own), find=find, parts=parts)
    hydras = tuple(one for one in _overrides("hydra") if not one.startswith("hydra.mode="))
    base = source_of(str(HydraConfig.get().job.config_name))
    return replace(checked, base=base, of_hydra=hydras)


def overrides_as_given(own: OwnFiles) -> tuple[str, ...]:
    """The overrides of the configuration that Hydra has composed now, as they were given."""
    return tuple(map(own.as_given, _overrides("task")))


def check(
    cfg: DictConfig,
    schema: type[ConfigT],
    overrides: Sequence[str] = (),
    *,
    find: FindOrigins = Origins,
    parts: Collection[str] | None = None,
) -> Composed[ConfigT]:
    """Resolves and validates a composed configuration.

    Args:
        cfg: The configuration.
        schema: What it must become.
        overrides: The overrides as they were given.
        find: Finds where its keys were set; asked only if something is wrong.
        parts: The top keys whose contradictions count; None is all.

    Raises:
        InputError: Values are missing, of the wrong type, out of range or unknown, or don't go
            together; all at once.
    """
    config, plain, problems = _examine(cfg, schema, find, parts)
    if problems:
        raise InputError.all_of(problem for _, problem in problems)
    return Composed(config, plain, tuple(overrides))


def find_problems(unchecked: Unchecked, schema: type[Section]) -> list[Problem]:
    """All that is wrong with a configuration.

    Args:
        unchecked: The configuration.
        schema: What it should be.

    Returns:
        The keys that have a part in each problem, and the error.
    """
    return _examine(unchecked.cfg, schema, unchecked.find_origins, None)[2]


def _examine(
    cfg: DictConfig,
    schema: type[ConfigT],
    find: FindOrigins,
    parts: Collection[str] | None,
) -> tuple[ConfigT, dict[str, Any], list[Problem]]:
    """What a configuration is, as far as it is right; its values; and all that is wrong."""
    plain, wrong = _resolve(cfg, find)
    try:
        config = schema.model_validate(plain)
    except ValidationError as error:
        found = explain_validation(error, plain, schema, find())
        wrong |= {key: problem for key, problem in found.items() if key not in wrong}
    if wrong:
        config = known_part(plain, schema, wrong)
    clashes = contradictions(config, whole=not wrong, parts=parts)
    told = _without_followers(wrong, cfg)
    problems: list[Problem] = [((key,), problem) for key, problem in told.items()]
    return config, plain, problems + [(one.keys, one.told(find())) for one in clashes]


def _without_followers(wrong: Mapping[str, InputError], cfg: DictConfig) -> dict[str, InputError]:
    """The problems but those of keys that are worked out from another wrong one."""
    raw = dict(_leaves(OmegaConf.to_container(cfg, resolve=False)))
    sources = {
        key: {other for other in _REFERENCE.findall(str(raw.get(key))) if other in wrong} - {key}
        for key in wrong
    }
    reached = {key for key in wrong if not sources[key]}
    told = set(reached)
    while followers := {key for key in wrong if key not in reached and sources[key] & reached}:
        reached |= followers
    # Keys that refer to each other in a circle are reached from nowhere, and all told.
    return {key: problem for key, problem in wrong.items() if key in told or key not in reached}


def _resolve(cfg: DictConfig, find: FindOrigins) -> tuple[dict[str, Any], dict[str, InputError]]:
    """The values as plain containers, and what is wrong with those that can't be had, by key."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    broken = _unresolvable(cfg, raw)
    if broken:
        cfg = copy.deepcopy(cfg)
        for key in broken:
            OmegaConf.update(cfg, key, "???")
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    missing = [key for key, value in _leaves(resolved) if value == "???" and key not in broken]
    problems = {key: not_given(key, find()) for key in missing}
    problems |= {key: explain_interpolation(key, error, find()) for key, error in broken.items()}
    return {str(key): value for key, value in resolved.items()}, problems


def validate(values: Mapping[str, Any], schema: type[ConfigT]) -> ConfigT:
    """Validates plain containers against a schema.

    Raises:
        InputError: As `check`.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError.all_of(explain_validation(error, values, schema).values()) from error


def read_config(path: Path, schema: type[ConfigT]) -> ConfigT:
    """Reads the ``config.yaml`` of a run.

    Raises:
        InputError: The file is missing or doesn't hold a configuration.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _no_config(path) from error
    if not isinstance(values, dict):
        raise _no_config(path)
    return validate(values, schema)


def _no_config(path: Path) -> InputError:
    return InputError(
        "the configuration can't be read", where=str(path), hint="is this a run's folder?"
    )


def _print_job(
    cfg: DictConfig, schema: type[Section], package: str | None, *, resolve: bool
) -> None:
    """Prints a configuration, or a part of it."""
    part: Any = cfg
    if package is not None and package != "_global_":
        if package not in known_keys(schema):
            raise unknown_key(package, schema)
        part = OmegaConf.select(cfg, package)
    is_plain = not OmegaConf.is_config(part)
    print(part if is_plain else OmegaConf.to_yaml(part, resolve=resolve).rstrip())


def _find_given_origins(own: OwnFiles) -> Origins:
    """The origins of the keys of the configuration that Hydra has composed now."""
    given = [*_overrides("hydra"), *_overrides("task")]
    loader = GlobalHydra.instance().config_loader()
    return find_origins(loader, str(HydraConfig.get().job.config_name), given, own.files)


def _overrides(kind: str) -> list[str]:
    """The overrides of Hydra's or of the task of the configuration that Hydra has composed now."""
    # Reading them one by one would resolve the interpolations in them.
    given = OmegaConf.to_container(getattr(HydraConfig.get().overrides, kind), resolve=False)
    return [str(one) for one in given] if isinstance(given, list) else []


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value that isn't a container, with its dotted key."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield prefix, value
    for name, inner in items:
        yield from _leaves(inner, f"{prefix}.{name}" if prefix else str(name))


def _unresolvable(cfg: DictConfig, raw: object) -> dict[str, OmegaConfBaseException]:
    """The keys whose interpolations can't be resolved, and why."""
    found: dict[str, OmegaConfBaseException] = {}
    for key, value in _leaves(raw):
        if isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(cfg, key, throw_on_resolution_failure=True)
            except OmegaConfBaseException as error:
                found[key] = error
    return found
