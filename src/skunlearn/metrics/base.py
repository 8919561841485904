"""Score: a number that carries its unit, direction, count and interval."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """One metric's result.

    Attributes:
        value: None when nothing could be scored.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        n: rows that were scored.
        unscored: rows that were not, which count neither way.
        unit: "rate" (0..1), "nats/token", "perplexity", "cosine".
        higher_is_better: which way is good.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int
    unit: str
    higher_is_better: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def empty(unit: str, higher_is_better: bool, unscored: int = 0) -> Score:
    """The score of nothing."""
    return Score(None, None, None, 0, unscored, unit, higher_is_better)
