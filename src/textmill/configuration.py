"""From overrides on the command line to a checked configuration, by Hydra and the schema."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from textmill.config_files import CONFIG_PACKAGE
from textmill.errors import InputError
from textmill.explanations import explain_composition, explain_interpolation, explain_validation
from textmill.overrides import check_overrides
from textmill.resolvers import register_resolvers
from textmill.schema import SCHEMAS, Section

ConfigT = TypeVar("ConfigT", bound=Section)


@dataclass(frozen=True, slots=True)
class Composed(Generic[ConfigT]):
    """A configuration ready for a verb.

    Args:
        config: The checked configuration.
        resolved: The same as plain containers, all interpolations resolved.
        overrides: The overrides as they were given.
        config_dir: The folder of the user's own files, as it was given.
    """

    config: ConfigT
    resolved: dict[str, Any]
    overrides: tuple[str, ...]
    config_dir: str | None = None


class _Carry(BaseException):
    """Carries an exception of the task through Hydra, which would print it itself."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def run_with_hydra(
    argv: Sequence[str], config_name: str, task: Callable[[Composed[Any]], None]
) -> None:
    """Composes the configuration that ``argv`` asks for, checks it, and gives it to ``task``.

    Hydra's own flags (``--cfg``, ``--multirun`` and so on) are answered by Hydra.

    Raises:
        InputError: The configuration is wrong; all problems found are told together.
    """
    schema = SCHEMAS[config_name]
    own = check_overrides(argv, schema)
    command_line = list(sys.argv)

    @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_PACKAGE}", config_name=config_name)
    def composed(cfg: DictConfig) -> None:
        # Lightning starts further processes with the command line as it was.
        sys.argv = command_line
        try:
            task(check(cfg, schema, [own.as_given(one) for one in _overrides()]))
        except Exception as error:
            raise _Carry(error) from error

    register_resolvers()
    # Without this variable Hydra prints its errors and exits; with it, it raises them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [command_line[0], *own.argv]
    try:
        composed()
    except _Carry as carried:
        raise carried.error from carried.error.__cause__
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise own.told_as_given(explain_composition(error, schema)) from error
    finally:
        sys.argv = command_line


def check(
    cfg: DictConfig, schema: type[ConfigT], overrides: Sequence[str] = ()
) -> Composed[ConfigT]:
    """Resolves and validates a composed configuration.

    Raises:
        InputError: Values are missing, of the wrong type, out of range or unknown; all at once.
    """
    raw = OmegaConf.to_container(cfg, resolve=False)
    missing = [key for key, value in _leaves(raw) if value == "???"]
    if missing:
        raise InputError.all_of(
            InputError(f"{key} is not given", hint=f"add {key}=VALUE") for key in missing
        )
    problems = list(_unresolvable(cfg, raw))
    if problems:
        raise InputError.all_of(problems)
    resolved = OmegaConf.to_container(cfg, resolve=True)
    plain = {str(key): value for key, value in dict(resolved).items()}  # type: ignore[arg-type]
    return Composed(validate(plain, schema), plain, tuple(overrides))


def validate(values: Mapping[str, Any], schema: type[ConfigT]) -> ConfigT:
    """Validates plain containers against a schema.

    Raises:
        InputError: As `check`.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise explain_validation(error, values, schema) from error


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


def _overrides() -> list[str]:
    """The task's overrides; reading them one by one would resolve the interpolations in them."""
    given = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(override) for override in given] if isinstance(given, list) else []


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


def _unresolvable(cfg: DictConfig, raw: object) -> Iterator[InputError]:
    for key, value in _leaves(raw):
        if isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(cfg, key, throw_on_resolution_failure=True)
            except OmegaConfBaseException as error:
                yield explain_interpolation(key, error)
