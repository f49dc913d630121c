"""The command line: picks the verb, and tells errors in one line.

Only the standard library is imported here, so that ``textmill --help`` is instant; a verb's module
is imported when the verb is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from textmill.errors import InputError, TextmillError, did_you_mean
from textmill.version import __version__


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        module: The module that does it.
        summary: What it does, for the help.
        config: For a verb that takes Hydra overrides, the name of its configuration; its module
            has ``run(composed, **flags)``. The others have ``main(argv)``, which returns the exit
            status.
        flags: Switches of a verb that takes overrides, each with what it does.
        joins: Whether ``--join`` has it take part in what another worker has begun.
        reads: For a verb that takes overrides, the top keys that it reads; None is all.
        from_saved: Whether ``--config`` has it start from a run's configuration.
        grid: The module whose ``run_all(argv)`` does it for all combinations of values, ``-m``;
            None has them done one after the other.
    """

    module: str
    summary: str
    config: str | None = None
    flags: Mapping[str, str] = MappingProxyType({})
    reads: tuple[str, ...] | None = None
    joins: bool = False
    from_saved: bool = False
    grid: str | None = None


# What the extra `train` brings: named where one is missing, since a service is installed without.
TRAINING = frozenset(
    (
        "datasets",
        "hydra",
        "lightning",
        "matplotlib",
        "omegaconf",
        "scipy",
        "sklearn",
        "torch",
        "torchmetrics",
        "transformers",
        "unearth",
        "wandb",
    )
)
MULTIRUN = frozenset(("-m", "--multirun"))
VERBS = {
    "data": Verb(
        "textmill.describe",
        "fetch, check and describe a data set",
        "train",
        {"json": "print JSON"},
        reads=("data", "model", "seed"),
        from_saved=True,
    ),
    "train": Verb(
        "textmill.train",
        "train a classifier, judge it, and write the run",
        "train",
        from_saved=True,
        grid="textmill.multirun",
    ),
    "sweep": Verb(
        "textmill.sweep",
        "search for the best settings, ending runs that promise little",
        "sweep",
        joins=True,
    ),
    "evaluate": Verb("textmill.evaluate", "judge a bundle on any data set", "evaluate"),
    "config": Verb("textmill.show_config", "show what a key means, its value, and what set it"),
    "predict": Verb("textmill.predict", "label texts with a bundle"),
    "serve": Verb("textmill.serve", "answer over HTTP which label a text has"),
    "export": Verb("textmill.export", "add the forms of a model that ONNX Runtime computes"),
    "verify": Verb("textmill.verify", "check that a bundle is what was trained, in all its forms"),
    "gate": Verb("textmill.gate", "block a release that is worse than the last one"),
    "explain": Verb("textmill.explain", "show which words a label comes from"),
    "reproduce": Verb("textmill.reproduce", "make a run again, and say how far it is the same"),
    "runs": Verb("textmill.browse.command", "list, show and compare the runs that there are"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done, 1 failed, 2 wrong input."""
    arguments, debug = _take_debug(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(usage(), file=sys.stderr)
        return 2
    verb, *rest = arguments
    if verb in ("-h", "--help"):
        print(usage())
        return 0
    if verb == "--version":
        print(f"textmill {__version__}")
        return 0
    try:
        if verb not in VERBS:
            raise InputError(f"there is no verb {verb!r}", hint=did_you_mean(verb, VERBS))
        status = _run(verb, rest)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read the answers has had enough; Python's own flush at the end must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TextmillError as error:
        _trace(debug)
        return _complain(*error.problems, status=error.exit_status)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in TRAINING:
            raise
        _trace(debug)
        return _complain(f"{module} is not installed: pip install 'textmill[train]'")
    except OSError as error:
        # What no place was prepared for: a device that fails, a folder that vanishes meanwhile.
        _trace(debug)
        return _complain(_refusal(error), status=1)
    except KeyboardInterrupt:
        return _complain("interrupted", status=130)


def usage() -> str:
    """The text of ``textmill --help``."""
    verbs = "\n".join(f"  {name:<10} {verb.summary}" for name, verb in VERBS.items())
    return f"""usage: textmill VERB ...

From labelled text to a classifier in service.

verbs:
{verbs}

options:
  -h, --help  show this help, or a verb's: textmill VERB --help
  --version   show the version
  --debug     show the traceback of an error"""


def _run(name: str, arguments: list[str]) -> int:
    verb = VERBS[name]
    if verb.config is None:
        status: int = importlib.import_module(verb.module).main(arguments)
        return status
    if "--help" in arguments or "-h" in arguments:
        from textmill.verb_help import verb_help

        saved = {"config RUN": "start from a run's configuration, or a YAML file with a whole one"}
        joined = {"join FOLDER": "work at a search that was begun before, or by another worker"}
        flags_told = {
            **(saved if verb.from_saved else {}),
            **(joined if verb.joins else {}),
            **verb.flags,
        }
        print(verb_help(name, verb.summary, verb.config, flags_told))
        return 0
    if verb.joins:
        from textmill.search.joining import take_joined

        arguments = take_joined(arguments)
    flags = {flag: f"--{flag}" in arguments for flag in verb.flags}
    overrides = [argument for argument in arguments if argument[2:] not in flags]
    if verb.grid is not None and not MULTIRUN.isdisjoint(overrides):
        importlib.import_module(verb.grid).run_all(overrides)
        return 0
    if verb.from_saved:
        from textmill.configuration.saved import take_saved

        overrides = take_saved(overrides, verb.config, _tell)
    from textmill.configuration.composing import run_with_hydra

    # The verb's module, with torch behind it, is imported once the configuration is right.
    run_with_hydra(
        overrides,
        verb.config,
        lambda composed: importlib.import_module(verb.module).run(composed, **flags),
        verb.reads,
    )
    return 0


def _take_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without ``--debug``, and whether it was there; after ``--`` it is a text."""
    end = argv.index("--") if "--" in argv else len(argv)
    before = [argument for argument in argv[:end] if argument != "--debug"]
    return [*before, *argv[end:]], len(before) < end


def _refusal(error: OSError) -> str:
    where = f", in {error.filename}" if error.filename else ""
    return f"the machine refused ({error.strerror or error}){where}: try again, or add --debug"


def _tell(line: str) -> None:
    print(f"textmill: {line}", file=sys.stderr)


def _trace(debug: bool) -> None:
    if debug:
        import traceback  # slow to import for --help

        traceback.print_exc()


def _complain(*problems: str, status: int = 2) -> int:
    for problem in problems:
        print(f"textmill: error: {problem}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
