"""The help of the verbs that take overrides: every key as its YAML file explains it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import yaml

from textmill.configuration.files import first_file, group_choices, read_file

OPTIONS = {
    "-m, --multirun": "a run for each of several values, as seed=1,2,3",
    "--cfg job": "show the configuration instead of running; with --resolve, references too",
    "GROUP=FILE.yaml": "a YAML file of your own, from any folder, for any group",
    "--config-dir FOLDER": "such files under new names, as FOLDER/data/mine.yaml for data=mine",
    "--debug": "show the traceback of an error",
    "-h, --help": "show this help",
}


def verb_help(verb: str, summary: str, config_name: str, flags: Mapping[str, str]) -> str:
    """The text of ``textmill VERB --help``.

    Args:
        verb: The verb.
        summary: What it does.
        config_name: The file that its configuration starts from.
        flags: The verb's own switches, each with what it does.
    """
    own = {f"--{flag}": meaning for flag, meaning in flags.items()}
    options = "\n".join(f"  {name:<21}{meaning}" for name, meaning in {**own, **OPTIONS}.items())
    return f"""usage: textmill {verb} [KEY=VALUE ...] [GROUP=NAME ...] [options]

{summary[0].upper()}{summary[1:]}.

options:
{options}

keys and their defaults; those of a choice's own file take the place of some of them
(textmill config GROUP shows the choices, textmill config KEY what a key may be):

{textwrap.indent("".join(_sections(config_name)).rstrip(), "  ")}"""


def _sections(config_name: str) -> Iterator[str]:
    text = read_file(config_name)
    choices = group_choices()
    for entry in yaml.safe_load(text)["defaults"]:
        if isinstance(entry, str) and "/" not in entry and entry != "_self_":
            yield from _sections(entry)
            continue
        group, choice = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        if group in choices:
            names = textwrap.fill(f"{group}=NAME: {', '.join(choices[group])}", 94)
            yield f"{names}\n{textwrap.indent(_keys_of(group, choice), '  ')}\n"
    for paragraph in text.split("\n\n"):
        if not paragraph.startswith(("#", "hydra:")):
            yield f"{paragraph}\n"


def _keys_of(group: str, choice: str | None) -> str:
    """The keys of a group, from what its choices start from, or from its default choice."""
    if choice is None:
        return ""
    lines = read_file(group, first_file(group, choice)).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#") and line.strip())
