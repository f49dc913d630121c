"""Says in one line what is wrong with a configuration: the key, what is wrong, what would do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import yaml
from hydra.errors import MissingConfigException
from omegaconf.errors import InterpolationKeyError
from pydantic import BaseModel, ValidationError

from textmill.configuration.files import BASE, group_choices
from textmill.configuration.origins import NOWHERE, Origins
from textmill.errors import InputError, did_you_mean
from textmill.runs import short_path

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST_VALUE = 60
HELP = "see --help for the keys and the groups"
GROUP_NOUNS = {"data": "data set"}
IN_FILE = re.compile("In '([^']+)'")
NO_CHOICE = re.compile("You must specify '([^']+)'")
REFUSED_KEY = re.compile(r"Could not (?:override|append to config.*?|delete.*?) '([^']+)'")

# What would do, by pydantic's name of the error.
EXPECTATIONS = {
    "bool_type": "give true or false",
    "dict_type": "give a map, such as '{{A: 1, B: 2}}'",
    "finite_number": "give a finite number",
    "float_type": "give a number",
    "greater_than": "give a number greater than {gt}",
    "greater_than_equal": "give a number of at least {ge}",
    "int_type": "give a whole number",
    "less_than": "give a number less than {lt}",
    "less_than_equal": "give a number of at most {le}",
    "list_type": "give a list, such as [A,B]",
    "missing": "give a longer list",
    "string_too_long": "give text no longer than {max_length}",
    "string_too_short": "give text no shorter than {min_length}",
    "string_type": "give text",
    "too_long": "give a list of {max_length}",
    "too_short": "give a list of {min_length}",
}


def explain_validation(
    error: ValidationError,
    values: Mapping[str, Any],
    schema: type[BaseModel],
    origins: Origins = NOWHERE,
) -> dict[str, InputError]:
    """Tells every problem that a schema found in ``values``, each in one line, by its key."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors():
        by_key.setdefault(_key_of(detail, values), []).append(detail)
    # Each member of a union complains; those that understood more of the value count.
    told = [key for key in by_key if not any(other.startswith(f"{key}.") for other in by_key)]
    lacking = _lacking_base(by_key, schema, origins)
    explained = {
        key: _explain_value(key, by_key[key], schema, origins)
        for key in told
        if key.rpartition(".")[0] not in lacking
    }
    return {**lacking, **explained}


def explain_composition(
    error: Exception, schema: type[BaseModel], given: Iterable[str] = ()
) -> InputError:
    """Tells in one line what Hydra or OmegaConf refused.

    Args:
        error: Theirs.
        schema: What the configuration must become.
        given: The command line.
    """
    if isinstance(error, MissingConfigException):
        return _missing_file(error, tuple(given))
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        where = f"{short_path(Path(mark.name))}:{mark.line + 1}"
        return InputError("the YAML can't be read", where=where, hint=error.problem)
    if match := NO_CHOICE.search(str(error)):
        choices = group_choices().get(match[1], [])
        hint = f"add {match[1]}=NAME, one of {', '.join(choices)}"
        return InputError(f"no {match[1]} is chosen", hint=hint)
    if match := REFUSED_KEY.search(str(error)):
        key = getattr(error.__cause__, "full_key", None) or ""
        file = IN_FILE.match(str(error))
        place = f"{file[1]}.yaml" if file and "/" in file[1] else None
        return unknown_key(max(key, match[1], key=len), schema, where=place)
    return InputError(f"the configuration is wrong: {_first_line(error)}", hint=HELP)


def explain_interpolation(key: str, error: Exception, origins: Origins) -> InputError:
    """Tells in one line why the value of ``key``, which refers to another, can't be had."""
    if isinstance(error, InterpolationKeyError) and (match := re.search("'(.+)'", str(error))):
        what = f"{key} refers to {match[1]!r}, which is not a key"
    else:
        reason = _first_line(error).partition("while resolving interpolation: ")
        what = f"{key} can't be worked out ({reason[2] or reason[0]})"
    return InputError(what, where=origins.file(key), hint=f"set {key}")


def unknown_key(
    key: str, schema: type[BaseModel], origins: Origins = NOWHERE, *, where: str | None = None
) -> InputError:
    """The error of a key that there isn't, with those that may have been meant."""
    if key in group_choices() and key not in schema.model_fields:
        hint = "begin its file with the line '# @package _global_'"
    else:
        hint = _key_hint(key, [*known_keys(schema), *_keys_in_map(key, schema)])
    where = where or origins.file(key) or origins.file_below(key)
    return InputError(f"there is no key {key!r}", where=where, hint=hint)


def not_given(key: str, origins: Origins = NOWHERE) -> InputError:
    """The error of a key without a value."""
    origin = origins.of(key)
    where = origin.place if origin and origin.kind == "own" else None
    return InputError(f"{key} is not given", where=where, hint=f"add {key}=VALUE")


def unknown_choice(
    group: str, name: str, options: Iterable[str], where: str | None = None
) -> InputError:
    """The error of a choice that a group doesn't have, with those that may have been meant."""
    return InputError(
        f"there is no {GROUP_NOUNS.get(group, group)} named {name!r}",
        where=where or f"{group}={name}",
        hint=did_you_mean(name, [option for option in options if option != BASE]),
    )


def known_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a schema, dotted, sections included."""
    for name, field in schema.model_fields.items():
        yield f"{prefix}{name}"
        for section in sections_in(field.annotation):
            yield from known_keys(section, f"{prefix}{name}.")


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """The sections that a key of this type may be; those in a map or a list are not."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (dict, list):
        for argument in get_args(annotation):
            yield from sections_in(argument)


def _keys_in_map(key: str, schema: type[BaseModel]) -> Iterator[str]:
    """What a section is made of that is a value of a map, if the key is of such a section."""
    annotation: Any = schema
    *above, _ = key.split(".")
    for number, name in enumerate(above):
        section = next(sections_in(annotation), None)
        field = section.model_fields.get(name) if section else None
        if field is None:
            return
        annotation = field.annotation
        if get_origin(annotation) is dict:
            inner = next(sections_in(get_args(annotation)[1]), None)
            if inner is not None and number + 1 < len(above):
                yield from (f"{'.'.join(above)}.{one}" for one in inner.model_fields)
            return


def _missing_file(error: MissingConfigException, given: Sequence[str]) -> InputError:
    """The error of a file of the configuration that there isn't, mostly a choice of a group."""
    group, _, name = (error.missing_cfg_file or "").partition("/")
    if group == "hydra":
        kind, _, name = name.partition("/")
        group = f"hydra/{kind}"
    file = IN_FILE.match(str(error))
    if name and file and "/" in file[1] and group in group_choices():
        hint = did_you_mean(name, [BASE, *group_choices()[group]])
        return InputError(
            f"there is no file {group}/{name}.yaml", where=f"{file[1]}.yaml", hint=hint
        )
    # Hydra names no options for one of several choices, as in tracking=[csv,huh].
    options = error.options or (group_choices().get(group) if file else None)
    if name and options:
        by_user = any(one.lstrip("+").startswith(f"{group}=") for one in given)
        where = f"{group}={name}" if by_user else f"a file's 'override /{group}: {name}'"
        return unknown_choice(group, name, options, where)
    return InputError(f"the configuration is wrong: {_first_line(error)}", hint=HELP)


def _key_hint(key: str, known: Sequence[str]) -> str:
    section, _, name = key.rpartition(".")
    if key in known:
        return f"{section} is null, so give it whole, as '{section}={{{name}: VALUE}}'"
    siblings = _keys_in(section, known)
    if section in known and not siblings:
        return f"{section} is one value, so give it whole, as {section}=VALUE"
    namesakes = [other for other in known if other.rpartition(".")[2] == name]
    if namesakes and not section:
        return f"did you mean {' or '.join(namesakes)}?"
    if siblings:
        return did_you_mean(key, siblings)
    return did_you_mean(key, namesakes or known)


def _keys_in(section: str, known: Sequence[str]) -> list[str]:
    """The keys directly in a section; the empty name is the whole configuration."""
    return [key for key in known if key.rpartition(".")[0] == section]


def _key_of(detail: ErrorDetails, values: Mapping[str, Any]) -> str:
    """The dotted key of a validation error.

    Pydantic puts the names of a union's members between the keys; the values show which is which.
    """
    names: list[str] = []
    current: Any = values
    for part in detail["loc"]:
        if part in (current if isinstance(current, Mapping) else _indices(current)):
            names.append(str(part))
            current = current[part]
    if _is_missing(detail):
        names.append(str(detail["loc"][-1]))
    return ".".join(names)


def _indices(value: object) -> range:
    return range(len(value)) if isinstance(value, list) else range(0)


def _is_missing(detail: ErrorDetails) -> bool:
    return detail["type"] == "missing" and isinstance(detail["loc"][-1], str)


def _explain_value(
    key: str, details: Sequence[ErrorDetails], schema: type[BaseModel], origins: Origins
) -> InputError:
    if details[0]["type"] == "extra_forbidden":
        return unknown_key(key, schema, origins)
    if _is_missing(details[0]):
        return not_given(key)
    where = origins.file(key)
    value = json.dumps(details[0]["input"], ensure_ascii=False, default=str)
    what = f"{key} can't be {value}" if len(value) <= LONGEST_VALUE else f"{key} is wrong"
    if details[0]["type"] == "model_type":
        first = _keys_in(key, list(known_keys(schema)))[0]
        hint = f"it has keys of its own, so set those, such as {first}=VALUE"
        return InputError(what, where=where, hint=hint)
    expected = " or ".join(dict.fromkeys(_expectation(detail) for detail in details))
    hint = expected.replace(" or give ", " or ")
    if isinstance(details[0]["input"], float | bool) and "give text" in hint:
        hint += f", with quotes inside quotes: {key}=\"'VALUE'\""
    return InputError(what, where=where, hint=hint)


def _lacking_base(
    by_key: Mapping[str, list[ErrorDetails]], schema: type[BaseModel], origins: Origins
) -> dict[str, InputError]:
    """The groups that lack most of their keys, because a file doesn't start from their base."""
    lacking: dict[str, InputError] = {}
    for group in schema.model_fields:
        missing = [key for key in by_key if key.rpartition(".")[0] == group]
        missing = [key for key in missing if _is_missing(by_key[key][0])]
        if len(missing) > len(_keys_in(group, list(known_keys(schema)))) / 2:
            names = ", ".join(key.rpartition(".")[2] for key in missing[:3])
            lacking[group] = InputError(
                f"{group} lacks {len(missing)} keys ({names}, ...)",
                where=origins.file_below(group),
                hint=f"begin the file with 'defaults: [{BASE}, _self_]'",
            )
    return lacking


def _expectation(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        return f"give {detail['ctx']['expected']}{_nearest(detail)}"
    template = EXPECTATIONS.get(detail["type"])
    if template is None:
        return detail["msg"].removeprefix("Value error, ")
    bounds = detail.get("ctx", {})
    return template.format(
        **{
            name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
            for name, bound in bounds.items()
        }
    )


def _nearest(detail: ErrorDetails) -> str:
    """The choice that was meant, if the value is like one."""
    choices = re.findall("'([^']*)'", str(detail["ctx"]["expected"]))
    near = difflib.get_close_matches(str(detail["input"]).casefold(), choices, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
