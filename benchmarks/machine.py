"""What the machine can do, measured in the same run."""

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

SHAPES = (
    (576, 576),
    (576, 192),
    (576, 1536),
    (1536, 576),
)  # the built-in model's linear layers, in and out
SECONDS = 0.4


@dataclass(frozen=True)
class Line:
    """One measurement.

    Attributes:
        value: in `unit`.
        unit: of the value.
        ratio: how many times better than `against`; None when it stands alone.
        against: what it is held against.
    """

    value: float
    unit: str
    ratio: float | None = None
    against: str = ""


def peak_flops(rows: int) -> float:
    """Multiply-adds a second, counted as two operations, over the built-in model's shapes at this
    many rows."""
    best = 0.0
    for _ in range(3):
        done = spent = 0.0
        for inner, outer in SHAPES:
            a, b = torch.randn(rows, inner), torch.randn(inner, outer)
            torch.mm(a, b)
            start, times = time.perf_counter(), 0
            while time.perf_counter() - start < SECONDS / len(SHAPES):
                torch.mm(a, b)
                times += 1
            spent += time.perf_counter() - start
            done += 2.0 * rows * inner * outer * times
        best = max(best, done / spent)
    return best


def flops_of(work) -> float:
    """Floating-point operations of matrix multiplications in a piece of work."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
