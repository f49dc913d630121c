"""How a search proposes trials, and which it ends before their time."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from textmill.search.space import Parameter, Values, combinations

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

Sampling = Literal["tpe", "random", "cmaes", "grid", "nsga2"]
Pruning = Literal["none", "median", "hyperband"]


@dataclass(frozen=True, slots=True)
class Proposing:
    """How trials are proposed.

    Args:
        sampler: The way.
        startup_trials: Random trials before it learns from them.
        population: Trials in each generation of nsga2.
        seed: Of all proposals.
        grid: All combinations, in the order in which they are tried; None unless they are listed.
        first: What the first trials are given, each some of the parameters or all.
    """

    sampler: Sampling
    startup_trials: int
    population: int
    seed: int
    grid: Sequence[Values] | None = None
    first: Sequence[Values] = ()

    @property
    def looks(self) -> int:
        """How often a trial is looked at until what is proposed depends on its seed alone."""
        return 2 if self.sampler == "nsga2" else 1

    def sampler_for(self, number: int, part: str = "") -> BaseSampler:
        """A sampler for one trial, or for one parameter of it.

        Each has a seed of its own, made from the search's: a search that was stopped then goes on
        as if it hadn't been.
        """
        from optuna import samplers

        given = self.grid if self.grid is not None else self.first
        sampler = self._sampler(number, part)
        if number >= len(given):
            return sampler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return samplers.PartialFixedSampler(dict(given[number]), sampler)

    def _sampler(self, number: int, part: str) -> BaseSampler:
        from optuna import samplers

        entropy = [self.seed, number, zlib.crc32(part.encode())]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        startup = self.startup_trials
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.sampler == "tpe":
                return samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=startup,
                    multivariate=True,
                    group=True,
                    warn_independent_sampling=False,
                )
            if self.sampler == "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=startup, warn_independent_sampling=False
                )
            if self.sampler == "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=self.population)
            return samplers.RandomSampler(seed=seed)


def shuffled_grid(space: Sequence[Parameter], seed: int) -> list[Values]:
    """All combinations of a space, in an order in which any part of them is spread over it."""
    found = combinations(space)
    return [found[index] for index in np.random.default_rng(seed).permutation(len(found))]


@dataclass(frozen=True, slots=True)
class Ending:
    """When trials are ended that don't promise enough.

    Args:
        pruner: The way.
        startup_trials: Trials that must have finished before the median counts.
        warmup: Validations that the median leaves every trial.
        reduction_factor: Of hyperband: one of so many trials goes on at each of its stages.
        longest: Validations of the longest trial.
    """

    pruner: Pruning
    startup_trials: int
    warmup: int
    reduction_factor: int
    longest: int

    def make(self) -> BasePruner:
        """The pruner as Optuna knows it."""
        from optuna import pruners

        if self.pruner == "median":
            return pruners.MedianPruner(
                n_startup_trials=self.startup_trials, n_warmup_steps=self.warmup
            )
        if self.pruner == "hyperband":
            return pruners.HyperbandPruner(
                min_resource=1, max_resource=self.longest, reduction_factor=self.reduction_factor
            )
        return pruners.NopPruner()
