"""The weights of a loss's terms, which a method may change from step to step."""

import torch

from skunlearn.methods.base import Method


class TermWeights:
    """Multiplies the terms of a loss by what `Method.weights` returns for the step.

    Both attributes belong into a checkpoint: the next weights may depend on them.

    Attributes:
        last: the weights of the latest step.
        terms: the values of the terms in the latest step, before they were weighted.

    Args:
        method: chooses the weights.
        steps: of the whole training.
    """

    def __init__(self, method: Method, steps: int) -> None:
        self.method = method
        self.steps = steps
        self.last: dict[str, float] = {}
        self.terms: dict[str, float] = {}

    def apply(self, step: int, terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weighted terms of this step, counted from 0; terms without a weight are unchanged."""
        self.last = self.method.weights((step + 1) / self.steps, self.last, self.terms)
        self.terms = {name: term.item() for name, term in terms.items()}
        weighted = dict(terms)
        for name, weight in self.last.items():
            if name in terms:
                weighted[name] = weight * terms[name]
        return weighted
