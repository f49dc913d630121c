"""The YAML files of the configuration, inside the package."""

from __future__ import annotations

from importlib import resources

import yaml

# Libyaml's is ten times as fast; not every PyYAML was built with it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CONFIG_PACKAGE = "textmill.conf"
# What the choices of a group start from; not a choice.
BASE = "base"
# How a saved configuration that takes the place of the defaults is called, and its sections.
SAVED = "textmill-saved-"


def group_choices() -> dict[str, list[str]]:
    """The groups, each with the names that can be chosen."""
    folders = (item for item in resources.files(CONFIG_PACKAGE).iterdir() if item.is_dir())
    choices = {
        folder.name: sorted(
            item.name.removesuffix(".yaml")
            for item in folder.iterdir()
            if item.name.endswith(".yaml") and item.name != f"{BASE}.yaml"
        )
        for folder in folders
    }
    return {group: names for group, names in sorted(choices.items()) if names}


def read_file(*path: str) -> str:
    """The text of a file, such as ``read_file("data", "base")``.

    Raises:
        FileNotFoundError: There is no such file.
    """
    *folders, name = path
    return resources.files(CONFIG_PACKAGE).joinpath(*folders, f"{name}.yaml").read_text("utf-8")


def first_file(group: str, choice: str) -> str:
    """The file that says the keys of a group first: what its choices start from, or a choice."""
    try:
        read_file(group, BASE)
    except FileNotFoundError:
        return choice
    return BASE
