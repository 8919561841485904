"""Mirror: theta_o + (theta_o - theta_u), the edit applied the wrong way round.

Threat: anyone who holds the base and the edited model computes it with one subtraction, without
    data or training. Where
the edit negates what a harmful copy learnt, the mirror is that copy.
"""

from dataclasses import dataclass
from typing import ClassVar

from skunlearn.attacks.base import Attack, Situation, Situations, Target
from skunlearn.task_vectors.apply import attacked


@dataclass(frozen=True)
class Mirror(Attack):
    """No options: there is one mirror."""

    name: ClassVar[str] = "mirror"

    def situations(self, target: Target) -> Situations:
        """2 theta_o - theta_u, once."""
        with attacked(target.lm.model, -target.edit):
            yield Situation("2 base - edited", "edited", target.plain, "mirror")
