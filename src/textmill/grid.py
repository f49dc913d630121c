"""All combinations of the values on a command line, composed and launched by Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from textmill.configuration.composing import Composed, check_given, search_path, told_by_schema
from textmill.configuration.launchers import check_launcher, launcher_name, prefer_own_launchers
from textmill.configuration.overrides import check_overrides, override_of, parse_flags
from textmill.configuration.own_files import OwnFiles
from textmill.configuration.resolvers import register_resolvers
from textmill.configuration.schema import SCHEMAS
from textmill.errors import InputError

# So many combinations are composed in about a quarter of a minute.
_MOST_COMPOSED = 100
_SWEEPER = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"
_FOLDER_KEY = "hydra.sweep.dir="

Job = Callable[[DictConfig], None]


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of a command line, while Hydra is open to compose and launch them.

    Args:
        config_name: The configuration that their keys are of.
        folder: The multirun's folder, ``hydra.sweep.dir``.
        combinations: The overrides of each, as Hydra takes them.
        own: The command line with the user's own files.
        hydra: Hydra, open.
        settings: The configuration without the values that vary, for Hydra's own keys.
    """

    config_name: str
    folder: Path
    combinations: tuple[tuple[str, ...], ...]
    own: OwnFiles
    hydra: Hydra
    settings: DictConfig

    @property
    def launcher(self) -> str:
        """The name of what launches the combinations, such as ``basic`` or ``joblib``."""
        return launcher_name(self.settings)

    def check(self, accept: Callable[[Composed[Any]], None]) -> Composed[Any]:
        """Composes the combinations and checks each of them.

        Of very many, those are composed that have each value at least once.

        Args:
            accept: Called with each; what it refuses is told too.

        Returns:
            The first.

        Raises:
            InputError: Some are wrong; all problems are told at once.
        """
        composed: list[Composed[Any]] = []
        problems: dict[str, None] = {}
        for overrides in _to_check(self.combinations):
            try:
                composed.append(self._compose(overrides))
                accept(composed[-1])
            except InputError as error:
                problems |= dict.fromkeys(error.problems)
        if problems:
            raise InputError.all_of(map(InputError, problems))
        return composed[0]

    def launch(self, combinations: Sequence[Sequence[str]], job: Job) -> None:
        """Has the launcher do the job for some of the combinations, and waits.

        Args:
            combinations: Those.
            job: Called with the configuration of each, perhaps in another process.
        """
        launcher = _launcher(self.hydra, self.settings, job)
        size = self.settings.hydra.sweeper.max_batch_size or len(combinations)
        for start in range(0, len(combinations), size):
            batch = [list(overrides) for overrides in combinations[start : start + size]]
            for done in launcher.launch(batch, initial_job_idx=start):
                _ = done.return_value  # raises what ended the job

    def as_given(self, overrides: Sequence[str]) -> tuple[str, ...]:
        """A combination's overrides with the user's own files as they were given."""
        return tuple(map(self.own.as_given, overrides))

    def _compose(self, overrides: Sequence[str]) -> Composed[Any]:
        schema = SCHEMAS[self.config_name]
        with told_by_schema(schema, self.own):
            config = self.hydra.config_loader.load_sweep_config(self.settings, list(overrides))
        HydraConfig.instance().set_config(config)
        return check_given(without_hydra(config), schema, self.own)


@contextmanager
def open_grid(argv: Sequence[str], config_name: str) -> Iterator[Grid]:
    """Opens Hydra for all combinations of a command line; nothing is written.

    Args:
        argv: The command line behind the verb.
        config_name: The configuration that its keys are of.

    Raises:
        InputError: The command line is wrong, or its launcher isn't installed.
    """
    schema = SCHEMAS[config_name]
    own = check_overrides(argv, schema)
    flags = parse_flags(own.argv)
    if flags.cfg or flags.info or flags.hydra_help or flags.shell_completion:
        raise InputError("-m only runs", hint="leave it out to be shown something")
    register_resolvers()
    prefer_own_launchers()
    version.setbase("1.3")
    try:
        with told_by_schema(schema, own):
            hydra = Hydra.create_main_hydra2("textmill", search_path(flags.config_dir))
            overrides = [*flags.overrides, "hydra.mode=MULTIRUN"]
            settings = hydra.compose_config(
                flags.config_name or config_name, overrides, RunMode.MULTIRUN
            )
            combinations = _combinations(hydra, settings)
            folder = Path(str(settings.hydra.sweep.dir)).absolute()
        check_launcher(settings)
        if not any(given.startswith(_FOLDER_KEY) for given in flags.overrides):
            folder = _unused(folder)
        _fix_folder(settings, folder)
        yield Grid(config_name, folder, combinations, own, hydra, settings)
    finally:
        GlobalHydra.instance().clear()


def without_hydra(config: DictConfig) -> DictConfig:
    """A configuration without Hydra's own keys."""
    with open_dict(config):
        del config["hydra"]
    return config


def _combinations(hydra: Hydra, settings: DictConfig) -> tuple[tuple[str, ...], ...]:
    """The overrides of each combination, in the order of Hydra's own sweeper.

    Raises:
        InputError: Another sweeper is asked for.
    """
    sweeper = settings.hydra.sweeper
    if sweeper._target_ != _SWEEPER:
        raise InputError(
            "-m goes through all combinations of values",
            where=f"hydra/sweeper={settings.hydra.runtime.choices['hydra/sweeper']}",
            hint="leave it out, or search with textmill sweep",
        )
    given: Any = OmegaConf.to_container(settings.hydra.overrides.task, resolve=False)
    everywhere = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    overrides = parser.parse_overrides([*everywhere, *given])
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise InputError(
                f"{override.input_line} has no values to go through",
                hint="list them, or search with textmill sweep",
            )
    [combinations] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return tuple(dict.fromkeys(map(tuple, combinations)))


def _to_check(combinations: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """All, or of very many those that add a value to the ones before them."""
    seen: set[str] = set()
    for combination in combinations:
        if len(combinations) <= _MOST_COMPOSED or not seen.issuperset(combination):
            seen.update(combination)
            yield combination


def _launcher(hydra: Hydra, settings: DictConfig, job: Job) -> Launcher:
    context = HydraContext(hydra.config_loader, Callbacks(settings))
    return Plugins.instance().instantiate_launcher(context, job, settings)


def _fix_folder(settings: DictConfig, folder: Path) -> None:
    """Has every process take the same folder, whenever and wherever it composes a combination."""
    settings.hydra.sweep.dir = str(folder)
    given = OmegaConf.to_container(settings.hydra.overrides.hydra, resolve=False)
    others = [one for one in given if not str(one).startswith(_FOLDER_KEY)]  # type: ignore[union-attr]
    settings.hydra.overrides.hydra = [*others, override_of("hydra.sweep.dir", str(folder))]


def _unused(folder: Path) -> Path:
    """The folder, or one with a number where another multirun of the same second has it."""
    names = (folder.name, *(f"{folder.name}-{number}" for number in range(2, 1000)))
    return next(path for path in map(folder.with_name, names) if not path.exists())
