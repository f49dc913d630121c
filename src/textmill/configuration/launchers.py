"""What launches the runs of a multirun: Hydra's plugins, as the configuration's files set them."""

from __future__ import annotations

from importlib import resources

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from textmill.configuration.files import CONFIG_PACKAGE
from textmill.errors import InputError


def prefer_own_launchers() -> None:
    """Has Hydra take the launchers' files of Textmill in place of the plugins' own defaults.

    Where both have a name, Hydra would take the plugin's for the schema of the file, and warn.
    """
    Plugins.instance()  # by which the plugins store their defaults
    stored = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for file in resources.files(CONFIG_PACKAGE).joinpath("hydra", "launcher").iterdir():
        stored.pop(file.name, None)


def launcher_name(settings: DictConfig) -> str:
    """The launcher in Hydra's part of a configuration, such as ``basic`` or ``joblib``."""
    return str(settings.hydra.runtime.choices["hydra/launcher"])


def check_launcher(settings: DictConfig) -> None:
    """Makes sure that the launcher is installed.

    Args:
        settings: A configuration with Hydra's part.

    Raises:
        InputError: It isn't.
    """
    target = str(settings.hydra.launcher._target_)
    if target not in Plugins.instance().class_name_to_class:
        name = launcher_name(settings)
        # Such as hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher.
        extra = target.split(".")[1].removeprefix("hydra_").removesuffix("_launcher")
        raise InputError(
            f"the launcher {name} is not installed",
            where=f"hydra/launcher={name}",
            hint=f"pip install 'textmill[{extra}]'",
        )
