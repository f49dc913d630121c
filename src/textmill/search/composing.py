"""From the configuration of a search to what it varies, and to the configurations of its trials."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from textmill.configuration.composing import Composed, Unchecked, check, compose, validate
from textmill.configuration.explanations import known_keys, unknown_choice, unknown_key
from textmill.configuration.files import group_choices
from textmill.configuration.overrides import override_of
from textmill.configuration.schema import ParameterSection, SweepConfig, TrainConfig
from textmill.errors import InputError
from textmill.search.objectives import monitored, objective_problems
from textmill.search.space import Parameter, Value, first_problems, in_order, space_problems

# Keys that every trial gets from the search itself.
OWN_KEYS = ("name", "resume", "runs_dir", "trainer.monitor")


def searched(composed: Composed[SweepConfig]) -> tuple[Parameter, ...]:
    """What a search varies, checked with everything else that its trials hang on.

    Raises:
        InputError: Something of the search can't be done; all problems at once.
    """
    config = composed.config
    space = [_parameter(key, one, composed) for key, one in config.sweep.space.items()]
    problems = [
        *_given_problems(composed),
        *space_problems(space),
        *objective_problems(
            config.sweep.objectives, config.sweep.pruner, multi_label=config.data.multi_label
        ),
        *_budget_problems(config, space),
        *first_problems(config.sweep.first, space),
    ]
    for parameter in space:
        problems += _parameter_problems(parameter, composed)
    if problems:
        raise InputError.all_of(problems)
    return in_order(space)


class TrialConfigs:
    """Makes the configurations of a search's trials.

    Args:
        composed: The search's configuration.
    """

    def __init__(self, composed: Composed[SweepConfig]) -> None:
        self._composed = composed
        self._metric = monitored(composed.config.sweep.objectives)
        self._with_choices: dict[tuple[str, ...], Unchecked] = {}

    def of(self, parameters: Mapping[str, Value], name: str) -> Composed[TrainConfig]:
        """The configuration of a trial.

        Args:
            parameters: What was chosen for the trial.
            name: The name of its run.

        Raises:
            InputError: What was chosen doesn't go together.
        """
        groups = group_choices()
        choices = {key: value for key, value in parameters.items() if key in groups}
        values = {key: value for key, value in parameters.items() if key not in groups}
        values["name"] = name
        if self._metric is not None:
            values["trainer.monitor"] = self._metric
        unchecked = self._compose(choices)
        # Hydra itself does no more with a value that is given to it.
        cfg = copy.deepcopy(unchecked.cfg)
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
        overrides = [
            *_without(self._composed.overrides, {**choices, **values}),
            *(f"{group}={choice}" for group, choice in choices.items()),
            *(override_of(key, value) for key, value in values.items()),
        ]
        return _training(check(cfg, SweepConfig, overrides, find=unchecked.find_origins))

    def _compose(self, choices: Mapping[str, Value]) -> Unchecked:
        """The search's configuration with other choices of groups, which takes Hydra a while."""
        key = tuple(f"{group}={choice}" for group, choice in choices.items())
        if key not in self._with_choices:
            self._with_choices[key] = _compose(self._composed, choices)
        return self._with_choices[key]


def longest_trial(config: SweepConfig, space: Sequence[Parameter]) -> int | None:
    """The validations of the longest trial; None where only its data would tell."""
    if config.sweep.pruning.longest is not None:
        return config.sweep.pruning.longest
    if config.trainer.max_steps is not None:
        return None
    highest = {one.key: max(_numbers(one.extremes), default=1) for one in space}
    epochs = highest.get("trainer.max_epochs", config.trainer.max_epochs)
    validations = highest.get("trainer.validations", config.trainer.validations)
    return int(epochs * validations)


def _numbers(values: Sequence[Value]) -> list[float]:
    return [value for value in values if isinstance(value, int | float)]


def _compose(composed: Composed[SweepConfig], choices: Mapping[str, Value]) -> Unchecked:
    """A configuration like another, but with other choices of groups."""
    overrides = [
        *_without(composed.overrides, choices),
        *(f"{group}={choice}" for group, choice in choices.items()),
    ]
    folder = composed.config_dir
    return compose([*overrides, *(() if folder is None else ("--config-dir", folder))], "sweep")


def _training(composed: Composed[SweepConfig]) -> Composed[TrainConfig]:
    """The configuration without what is the search's."""
    resolved = {key: value for key, value in composed.resolved.items() if key != "sweep"}
    overrides = tuple(one for one in composed.overrides if not one.startswith("sweep"))
    return Composed(validate(resolved, TrainConfig), resolved, overrides)


def _parameter(key: str, section: ParameterSection, composed: Composed[SweepConfig]) -> Parameter:
    parameter = Parameter(
        key,
        choices=None if section.choices is None else tuple(section.choices),
        low=section.low,
        high=section.high,
        log=section.log,
        step=section.step,
        when={
            other: tuple(values) if isinstance(values, list) else (values,)
            for other, values in section.when.items()
        },
    )
    whole = all(isinstance(end, int) for end in (section.low, section.high))
    if whole and not _takes_fractions(key, _where_needed(parameter, composed)):
        return replace(parameter, whole=True)
    return parameter


def _where_needed(parameter: Parameter, composed: Composed[SweepConfig]) -> dict[str, Any]:
    """The configuration with a choice of each group that the parameter's conditions ask for."""
    groups = group_choices()
    choices = {
        group: values[0]
        for group, values in parameter.when.items()
        if values and values[0] in groups.get(group, ())
    }
    if not choices:
        return composed.resolved
    unchecked = _compose(composed, choices)
    try:
        return check(unchecked.cfg, SweepConfig).resolved
    except InputError:
        # What is wrong with the choice is told where the group is looked at.
        return composed.resolved


def _takes_fractions(key: str, resolved: Mapping[str, Any]) -> bool:
    """Whether the schema takes numbers for a key that are not whole; whether in range or not."""
    try:
        return "whole number" not in " ".join(_complaints(key, 0.5, resolved))
    except KeyError:
        return False


def _parameter_problems(parameter: Parameter, composed: Composed[SweepConfig]) -> list[InputError]:
    """What is wrong with a parameter's key, and with its values."""
    key, groups = parameter.key, group_choices()
    resolved = _where_needed(parameter, composed)
    where = f"sweep.space.{key}"
    if key in groups:
        return list(_group_problems(parameter, composed))
    if key not in known_keys(TrainConfig):
        [problem] = unknown_key(key, TrainConfig).problems
        return [InputError(f"sweep.space: {problem}")]
    if key in OWN_KEYS:
        return [InputError("the search itself sets it", where=where, hint="leave it out")]
    lines: dict[str, None] = {}
    for value in parameter.extremes:
        try:
            lines.update(dict.fromkeys(_complaints(key, value, resolved)))
        except KeyError:
            return [InputError("the section is null", where=where, hint="leave it out")]
    return [InputError(f"sweep.space: {line}") for line in lines]


def _group_problems(parameter: Parameter, composed: Composed[SweepConfig]) -> Iterator[InputError]:
    group = parameter.key
    if group == "sweep":
        yield InputError("a search can't vary itself", where="sweep.space.sweep")
        return
    for choice in parameter.choices or ():
        if choice not in group_choices()[group]:
            yield unknown_choice(group, str(choice), group_choices()[group])
            continue
        try:
            unchecked = _compose(composed, {group: choice})
            check(unchecked.cfg, SweepConfig, find=unchecked.find_origins)
        except InputError as error:
            yield from (InputError(f"with {group}={choice}: {line}") for line in error.problems)
    if parameter.choices is None:
        where = f"sweep.space.{group}"
        yield InputError("a group has no range", where=where, hint="give choices")


def _complaints(key: str, value: Value, resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """What the schema says of a value.

    Raises:
        KeyError: The key's section is null.
    """
    values = copy.deepcopy(dict(resolved))
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section[part] if section is not None else {}
    if section is None:
        raise KeyError(key)
    section[name] = value
    try:
        validate(values, SweepConfig)
    except InputError as error:
        return error.problems
    return ()


def _given_problems(composed: Composed[SweepConfig]) -> Iterator[InputError]:
    if composed.config.resume is not None:
        hint = "leave it out: the same command goes on where the search was"
        yield InputError("a search is not resumed like a run", where="resume", hint=hint)
    for override in composed.overrides:
        key = _key(override)
        if key in composed.config.sweep.space:
            hint = "leave it out, or take it from sweep.space"
            yield InputError(f"{key} is searched, so it can't be given", hint=hint)


def _budget_problems(config: SweepConfig, space: Sequence[Parameter]) -> Iterator[InputError]:
    sweep = config.sweep
    if sweep.sampler == "grid":
        for parameter in space:
            if parameter.listed is None:
                where = f"sweep.space.{parameter.key}"
                yield InputError("a grid needs a step", where=where, hint="give step or choices")
    elif sweep.trials is None and sweep.minutes is None:
        where = "sweep.trials and sweep.minutes"
        yield InputError("the search has no end", where=where, hint="set one of them")
    if sweep.pruner == "hyperband" and longest_trial(config, space) is None:
        yield InputError(
            "hyperband must know how long the longest trial is",
            where="sweep.pruning.longest",
            hint="set it to the number of validations, or trainer.max_steps=null",
        )
    if sweep.pruner != "none" and config.trainer.devices > 1:
        yield InputError(
            "a trial of several processes can't be pruned",
            where=f"trainer.devices={config.trainer.devices}",
            hint="set sweep.pruner=none, or trainer.devices=1",
        )


def _without(overrides: Sequence[str], keys: Mapping[str, object]) -> list[str]:
    """The overrides of other keys."""
    return [override for override in overrides if _key(override) not in keys]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
