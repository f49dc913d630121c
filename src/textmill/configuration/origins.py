"""Where each key of a composed configuration was set: a line of a YAML file, or an override."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode

from textmill.configuration.files import CONFIG_PACKAGE, SAVED, YAML_LOADER, read_file
from textmill.runs import short_path


@dataclass(frozen=True, slots=True)
class Origin:
    """What gave a key its value.

    Args:
        place: A file with its line, as ``conf/model/minilm.yaml:24``, or an override as given.
        kind: ``packaged`` for a file of Textmill's, ``own`` for one of the user's, or ``override``.
    """

    place: str
    kind: str


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of the keys of a configuration.

    Args:
        of_key: The origin of each dotted key that was set by its own name, the last set last.
        files: The files that were put together, as Hydra calls them: ``data/cola``.
    """

    of_key: Mapping[str, Origin] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def of(self, key: str) -> Origin | None:
        """The origin of a key, or of the nearest one above it that was set as a whole."""
        while key not in self.of_key and key:
            key = key.rpartition(".")[0]
        # Of a map, what was added to it last.
        below = [other for other in self.of_key if key and other.startswith(f"{key}.")]
        return self.of_key.get(below[-1] if below and key in self.of_key else key)

    def file_below(self, section: str) -> str | None:
        """The file of the user's, with the line, that set the first of a section's keys."""
        below = (one for key, one in self.of_key.items() if key.startswith(f"{section}."))
        return next((one.place for one in below if one.kind == "own"), None)

    def is_default(self, key: str) -> bool:
        """Whether a key is as the base of its group has it."""
        origin = self.of(key)
        return origin is not None and origin.kind == "packaged" and "/base.yaml:" in origin.place

    def file(self, *keys: str) -> str | None:
        """The files, with lines, that set the keys; None where overrides did."""
        found = [origin for origin in map(self.of, keys) if origin and origin.kind != "override"]
        return " and ".join(dict.fromkeys(origin.place for origin in found)) or None


# Of a configuration that came from no files.
NOWHERE = Origins()
# Origins are asked for when something is wrong, so they are found then.
FindOrigins = Callable[[], Origins]


def find_origins(
    loader: ConfigLoader,
    config_name: str,
    overrides: Sequence[str],
    files: Mapping[str, Path] | None = None,
) -> Origins:
    """Finds where the keys were set of the configuration that ``overrides`` give.

    Args:
        loader: Hydra's, which knows where the files are.
        config_name: The file that everything starts from.
        overrides: As Hydra takes them.
        files: Files that Hydra has from its store, by their path there, as ``data/mine``.
    """
    composed: Any = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    of_key: dict[str, Origin] = {}
    for default in composed.defaults:
        path = default.config_path
        if path is None or path.startswith("hydra/"):
            continue
        found = _find_file(loader, path, files or {})
        if found is None:
            continue
        place, kind, text = found
        package = "" if default.package in (None, "_global_") else default.package
        in_file = _keys_of_saved(text, path) if SAVED in path else _keys_in(text, package)
        for key, line in in_file:
            _set(of_key, key, Origin(f"{place}:{line}", kind))
    for override in composed.config_overrides:
        origin = Origin(str(override.input_line), "override")
        for key in _keys_of(override.key_or_group, override.value()):
            _set(of_key, key, origin)
    return Origins(of_key, tuple(one.config_path for one in composed.defaults if one.config_path))


def origins_in(path: Path) -> Origins:
    """The origins of the keys in a file of the user's that is a whole configuration."""
    place, kind, text = _own_file(path)
    return Origins({key: Origin(f"{place}:{line}", kind) for key, line in _keys_in(text, "")})


def _set(of_key: dict[str, Origin], key: str, origin: Origin) -> None:
    for replaced in [other for other in of_key if other == key or other.startswith(f"{key}.")]:
        del of_key[replaced]
    of_key[key] = origin


def _find_file(
    loader: ConfigLoader, config_path: str, files: Mapping[str, Path]
) -> tuple[str, str, str] | None:
    """What to call a file, whose it is, and its text; None for what is in no file."""
    if config_path in files:
        return _own_file(files[config_path])
    if SAVED in config_path:
        return _own_file(Path(str(ConfigStore.instance().load(f"{config_path}.yaml").provider)))
    source = next((one for one in loader.get_sources() if one.is_config(config_path)), None)
    if source is not None and source.scheme() == "file":
        return _own_file(Path(source.path) / f"{config_path}.yaml")
    if source is not None and source.path == CONFIG_PACKAGE:
        return f"conf/{config_path}.yaml", "packaged", read_file(*config_path.split("/"))
    return None


def _own_file(path: Path) -> tuple[str, str, str]:
    return short_path(path), "own", path.read_text(encoding="utf-8")


def _keys_in(text: str, package: str) -> Iterator[tuple[str, int]]:
    """Each key of a YAML that isn't a section, dotted, with its line."""
    root = yaml.compose(text, Loader=YAML_LOADER)
    for key, line in _walk(root, f"{package}." if package else ""):
        if key.partition(".")[0] != "hydra" and key != f"{package}.defaults".lstrip("."):
            yield key, line


def _keys_of_saved(text: str, config_path: str) -> Iterator[tuple[str, int]]:
    """The keys of a whole configuration that are in the section ``SECTION/NAME``, or in none."""
    section = config_path.rpartition("/")[0]
    for key, line in _keys_in(text, ""):
        if key.rpartition(".")[0].partition(".")[0] == section:
            yield key, line


def _walk(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value == "<<":
            yield from _walk(value, prefix)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _walk(value, f"{prefix}{key.value}.")
        else:
            yield f"{prefix}{key.value}", key.start_mark.line + 1


def _keys_of(key: str, value: object) -> Iterator[str]:
    """The keys that an override sets: its own, or those of the map that it gives."""
    if not isinstance(value, dict) or not value:
        yield key
        return
    for name, inner in value.items():
        yield from _keys_of(f"{key}.{name}", inner)
