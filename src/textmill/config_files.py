"""The YAML files of the configuration, inside the package."""

from __future__ import annotations

from importlib import resources

CONFIG_PACKAGE = "textmill.conf"
# What the choices of a group start from; not a choice.
BASE = "base"


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
