"""What a filter is, and what those that look at the base model are given."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch

from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
from skunlearn.utils.errors import ConfigError


class Context(Protocol):
    """What a filter may ask of the base model and of the ordinary answers that it must keep.

    `training.retain_statistics.RetainStatistics` measures it on a model; a test can answer from a
    table.
    """

    @property
    def depth(self) -> int:
        """Number of decoder layers."""

    def input_axis(self, name: str) -> int | None:
        """The axis of this weight along which its inputs lie: 1 for (O, I), 0 for (I, O), None
        where the module is not linear."""

    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Mean of x x^T over the retain tokens, (I, I), for the inputs x of the linear modules with
        these weights."""

    def fisher(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Diagonal of the empirical Fisher on the retain rows, in the shapes of these weights."""


class Filter(ABC):
    """The base of all filters, which are frozen dataclasses of their options."""

    @abstractmethod
    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        """One vector out of one or several of the same model.

        Raises:
            ConfigError: when the filter takes one vector and there are several.
        """


def filtered(filters: Sequence[Filter], taus: Sequence[TaskVector], context: Context) -> TaskVector:
    """The filters one after the other; the first is given all vectors, each later one what came out
    before.

    Raises:
        ConfigError: when several vectors are left with nothing to make one of them, or nothing is
            left of one.
    """
    for one in filters:
        taus = [one(taus, context)]
    tau = only(taus)
    if filters and not tau.norm():
        raise ConfigError(
            f"nothing is left of the vector after {type(filters[-1]).__name__}: take a weaker setting"
        )
    return tau


def only(taus: Sequence[TaskVector]) -> TaskVector:
    """The one vector there is.

    Raises:
        ConfigError: when there are several.
    """
    if len(taus) != 1:
        raise ConfigError(
            f"{len(taus)} task vectors, one is needed: put mean, ties or negmerge first in edit.filters"
        )
    return taus[0]


def dense(delta: Delta) -> torch.Tensor:
    """A difference as one matrix."""
    return delta.dense() if isinstance(delta, LowRank) else delta


def check_share(name: str, value: float) -> None:
    """Raise a ConfigError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value}: give a share, 0 to 1")
