"""``textmill train -m``: trains all combinations of values, and goes on where that was stopped.

Each is an ordinary run. The multirun's folder has a record of each combination, the commands that
it was started by, and at the end a table of them all.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig

from textmill.combinations import Combination, assignments, varying_keys
from textmill.configuration.composing import Composed, check_given, overrides_as_given
from textmill.configuration.overrides import override_of, parse_flags
from textmill.configuration.own_files import OwnFiles
from textmill.configuration.resolvers import register_resolvers
from textmill.configuration.saved import pin_saved, take_saved
from textmill.configuration.schema import TrainConfig
from textmill.errors import InputError
from textmill.grid import Grid, open_grid
from textmill.leaderboard import Objective, finish
from textmill.model.metric_names import monitor_mode
from textmill.runs import check_writable, short_path, write_json

_COMMANDS = "commands"
_BASIC = "basic"


def run_all(argv: Sequence[str]) -> None:
    """Trains the combinations of a command line that aren't trained yet, and tells which is best.

    Args:
        argv: The command line behind the verb, ``-m`` in it.

    Raises:
        InputError: Some combinations are wrong; nothing has been done.
        StoppedError: It was asked to stop; the same command in the same folder goes on.
        MachineError: Some combinations failed, or the folder can't be written.
    """
    folder, objective = _train_all(argv)
    finish(folder, objective)


def is_multirun(folder: Path) -> bool:
    """Whether a folder is a multirun's."""
    return (folder / _COMMANDS).is_dir()


def go_on(folder: Path, overrides: Sequence[str] = ()) -> None:
    """Starts the commands of a multirun again, in its folder.

    Args:
        folder: The multirun's folder.
        overrides: Of Hydra's own keys, in place of those that were given then.

    Raises:
        InputError: As `run_all`; or the folder was moved away from where it was made.
        StoppedError: As `run_all`.
        MachineError: As `run_all`.
    """
    folder = folder.absolute()
    given = (*overrides, override_of("hydra.sweep.dir", str(folder)))
    commands = (json.loads(path.read_text("utf-8")) for path in (folder / _COMMANDS).glob("*.json"))
    for command in sorted(commands, key=lambda command: str(command["arguments"])):
        with chdir(_directory(folder, command["directory"])):
            _, objective = _train_all(_with(command["arguments"], given))
    finish(folder, objective)


def _train_all(argv: Sequence[str]) -> tuple[Path, Objective]:
    with open_grid(take_saved(argv, "train", _tell), "train") as grid:
        first = grid.check(lambda composed: _accept(composed, grid.launcher))
        check_writable(grid.folder, "multirun's folder", "hydra.sweep.dir")
        _keep_command(grid.folder, argv)
        combinations = {
            Combination(grid.folder, grid.as_given(overrides)): overrides
            for overrides in grid.combinations
        }
        for combination in combinations:
            combination.announce()
        _launch(grid, combinations)
        return grid.folder, _objective(first.config)


def _accept(composed: Composed[Any], launcher: str) -> None:
    """Refuses what can't be in a multirun.

    Raises:
        InputError: There is something.
    """
    config: TrainConfig = composed.config
    if config.resume is not None:
        raise InputError(
            "a resumed run keeps its configuration, so it can't be one of several",
            where=f"resume={config.resume}",
            hint="leave out the -m; resume=FOLDER goes on with a whole multirun",
        )
    if config.trainer.devices > 1 and launcher != _BASIC:
        raise InputError(
            f"hydra/launcher={launcher} gives each run one process",
            where=f"trainer.devices={config.trainer.devices}",
            hint="leave the launcher out, or set trainer.devices=1",
        )


def _objective(config: TrainConfig) -> Objective:
    name = config.trainer.monitor
    mode = monitor_mode(name, multi_label=config.data.multi_label)
    return Objective(name, maximize=mode == "max")


def _keep_command(folder: Path, argv: Sequence[str]) -> None:
    """Records what the multirun was started by, for `go_on`."""
    told = {
        "arguments": pin_saved(argv),
        "directory": os.path.relpath(Path.cwd(), folder.resolve()),
    }
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    if not any(path.stem == digest for path in (folder / _COMMANDS).glob("*.json")):
        write_json(folder / _COMMANDS / f"{digest}.json", told)


def _launch(grid: Grid, combinations: Mapping[Combination, tuple[str, ...]]) -> None:
    """Has those combinations trained that aren't.

    Raises:
        StoppedError: It was asked to stop.
    """
    left = [one for one in combinations if one.state != "finished"]
    done = len(combinations) - len(left)
    finished = f", {done} of them finished" if done else ""
    _tell(f"multirun {short_path(grid.folder)}: {len(combinations)} combinations{finished}")
    varying = tuple(varying_keys([one.overrides for one in combinations]))
    try:
        with _stopping(grid) as stopping:
            # The second time for those that another process was training, if it has ended since.
            for waiting in (False, True):
                job = _Job(
                    grid.folder,
                    grid.own,
                    varying,
                    Path.cwd(),
                    sys.argv[0],
                    here=grid.launcher == _BASIC,
                    waiting=waiting,
                    stopping=stopping,
                )
                _launch_some(grid, [combinations[one] for one in left], job)
                left = [one for one in left if one.state not in ("finished", "failed")]
                if stopping.exists():
                    break
    except (_Asked, KeyboardInterrupt) as asked:
        # Its imports take seconds, and not every process trains.
        from textmill.model.checkpoints import StoppedError

        number = asked.signal_number if isinstance(asked, _Asked) else signal.SIGINT
        place = short_path(grid.folder)
        raise StoppedError(number, place, f"textmill train resume={place} goes on") from asked


def _launch_some(grid: Grid, combinations: Sequence[Sequence[str]], job: _Job) -> None:
    if not combinations:
        return
    if job.here:
        grid.launch(combinations, job)
        return
    try:
        grid.launch(combinations, job)
    except Exception as error:  # noqa: BLE001 - whatever ends processes; the records have the rest
        _tell(f"the launcher {grid.launcher} gave up: {type(error).__name__}: {error}")


@contextmanager
def _stopping(grid: Grid) -> Iterator[Path]:
    """Passes Ctrl-C and SIGTERM on to joblib's processes, and lets these end by themselves.

    Training in this process looks after the signals itself; what Ray and SLURM run goes on.

    Returns:
        A file that is there when no more combinations are to begin.
    """
    stopping = grid.folder / f".stopping-{secrets.token_hex(4)}"
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        asked.append(number)
        if len(asked) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopping.touch()
        for child in multiprocessing.active_children():
            child.terminate()

    if grid.launcher != "joblib":
        yield stopping
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stopping.unlink(missing_ok=True)
    if asked:
        raise _Asked(asked[0])


class _Asked(BaseException):
    """Somebody asks to stop; launchers let pass what isn't an `Exception`."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@dataclass(frozen=True, slots=True)
class _Job:
    """Trains one combination, in whatever process it is called.

    Args:
        folder: The multirun's folder.
        own: The command line with the user's own files.
        varying: The keys that tell the combinations apart.
        directory: Where the command was given, which relative paths start from.
        program: What was called there.
        here: Whether it is called in the process that was asked to train them all.
        waiting: Whether to wait for another process that trains the same.
        stopping: A file that is there when no more are to begin.
    """

    folder: Path
    own: OwnFiles
    varying: tuple[str, ...]
    directory: Path
    program: str
    here: bool
    waiting: bool
    stopping: Path

    def __call__(self, cfg: DictConfig) -> None:
        if self.stopping.exists():
            return
        combination = Combination(self.folder, overrides_as_given(self.own))
        with chdir(self.directory):
            with combination.locked() as ours:
                if ours:
                    self._train(combination, cfg)
                    return
            self._tell(combination, "is being trained by another process")
            if self.waiting:
                with combination.locked(waiting=True):
                    self._train(combination, cfg)

    def _train(self, combination: Combination, cfg: DictConfig) -> None:
        """Trains it, unless it was in the meantime, and records how that ends."""
        # Its imports take seconds, and not every process trains.
        from textmill.model.checkpoints import StoppedError

        if combination.reached == "finished":
            return
        try:
            register_resolvers()
            composed = check_given(cfg, TrainConfig, self.own)
            flags = parse_flags(self.own.argv)
            self._train_or_resume(combination, replace(composed, config_dir=flags.config_dir))
        except StoppedError as error:
            combination.end("interrupted")
            if self.here:
                raise _Asked(error.signal_number) from error
        except Exception as error:  # noqa: BLE001 - the others go on
            combination.fail(error)
            self._tell(combination, f"failed: {combination.error}")
        else:
            combination.end("finished")
            self._tell(combination, "is finished")

    def _train_or_resume(self, combination: Combination, composed: Composed[TrainConfig]) -> None:
        from textmill.training import Settings, resume, train

        if not self.here:
            # Rich would draw the bars of several processes over each other.
            os.environ["TTY_COMPATIBLE"] = "0"
        run = combination.run
        facts = {"group": self.folder.name, "combination": list(combination.overrides)}
        settings = Settings(facts=facts, begun=combination.begin, told=False)
        with _called_as([self.program, "train", *combination.overrides]):
            # One that failed before it got anywhere is begun anew.
            if run is None or (
                combination.reached == "failed" and not run.last_checkpoint.exists()
            ):
                self._tell(combination, "begins")
                train(composed, settings)
            else:
                self._tell(combination, "goes on")
                resume(run, settings)

    def _tell(self, combination: Combination, what: str) -> None:
        values = assignments(combination.overrides)
        named = " ".join(f"{key}={values[key]}" for key in self.varying if key in values)
        _tell(f"{named or 'the combination'} {what}")


@contextmanager
def _called_as(arguments: list[str]) -> Iterator[None]:
    """Has a run say that it was started by the command that starts it alone."""
    before, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = before


def _directory(folder: Path, place: str) -> Path:
    """The directory that a command was given in, from where it is from the multirun's folder.

    Raises:
        InputError: It isn't there.
    """
    directory = (folder.resolve() / place).resolve()
    if not directory.is_dir():
        raise InputError(
            f"the directory that the multirun was started in is not there ({directory})",
            where=str(folder),
            hint="give the command again, where its paths are right, with hydra.sweep.dir=FOLDER",
        )
    return directory


def _with(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """A command line with overrides in place of its own of the same keys."""
    keys = assignments(overrides)
    kept = [argument for argument in arguments if argument.partition("=")[0] not in keys]
    return [*kept, *overrides]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
