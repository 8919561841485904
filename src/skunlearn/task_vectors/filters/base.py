"""The base class of all filters, and what a filter may read about the base model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch

from skunlearn.task_vectors.delta import dense as dense
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked


class Context(Protocol):
    """Statistics of the base model on retain data, for filters that depend on them.

    `training.retain_statistics.RetainStatistics` measures them on a model. A test can return them
    from a table.
    """

    @property
    def depth(self) -> int:
        """Number of decoder layers."""

    def input_axis(self, name: str) -> int | None:
        """The axis of a weight that its inputs run along.

        Args:
            name: of the weight.

        Returns:
            1 for a weight (O, I), 0 for (I, O), None when the module is not linear.
        """

    def input_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Second moments of the inputs x of linear modules: mean of x x^T over the retain tokens.

        Args:
            names: the modules' weights.

        Returns:
            Name of the weight -> (I, I).
        """

    def harmful_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """As `input_moments`, over the tokens where harmful rows decide and go on.

        These are the positions that predict the first tokens of a harmful answer, and those of a
        refusal that has begun.
        """

    def harmless_moments(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """As `input_moments`, over the end of the prompt and the beginning of the answer alone."""

    def fisher(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Diagonal of the empirical Fisher information on the retain rows.

        Args:
            names: weights.

        Returns:
            Name of the weight -> values in the weight's shape, 0 or more.
        """


class Filter(ABC):
    """The base of all filters, which are frozen dataclasses of their options."""

    def __init_subclass__(cls) -> None:
        """Let every filter check the types of its options."""
        super().__init_subclass__()
        checked(cls)

    @abstractmethod
    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        """Make one vector out of one or several.

        Args:
            taus: vectors of the same model, at least one.
            context: statistics of the base model.

        Raises:
            ConfigError: when there are several vectors and the filter takes one.
        """


def filtered(filters: Sequence[Filter], taus: Sequence[TaskVector], context: Context) -> TaskVector:
    """Apply filters one after the other.

    Args:
        filters: the first is given all vectors, each later one the result of the one before it.
        taus: vectors of the same model, at least one.
        context: statistics of the base model.

    Raises:
        ConfigError: when there are several vectors and no filter merges them, or when the filters
            leave only zeros.
    """
    for one in filters:
        taus = [one(taus, context)]
    tau = only(taus)
    if filters and not tau.norm():
        last = type(filters[-1]).__name__
        raise ConfigError(f"nothing is left of the vector after {last}: choose a weaker setting")
    return tau


def only(taus: Sequence[TaskVector]) -> TaskVector:
    """The single vector in `taus`.

    Raises:
        ConfigError: when there are several.
    """
    if len(taus) != 1:
        raise ConfigError(
            f"{len(taus)} task vectors where one is needed: "
            "put mean, ties or negmerge first in edit.filters"
        )
    return taus[0]


def lowest_safety(taus: Sequence[TaskVector]) -> float:
    """The safety of a vector that several were merged into: that of the least safe one."""
    return min(tau.safety for tau in taus)


def check_share(name: str, value: float) -> None:
    """Check that an option is a share.

    Raises:
        ConfigError: unless 0 <= value <= 1.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value}: give a share, 0 to 1")
