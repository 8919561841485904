"""What keeping freed memory brings in a process that begins with training.

    python benchmarks/fresh_process.py            # three runs each, in turn

Each run is a process of its own that trains 9 steps of 4 + 4 rows of the default method on the
built-in model, on one thread. The number is the CPU seconds (user and system) of a step, as the
median of the last seven. In a process that has touched its pages before, the effect is smaller.
"""

import os
import statistics
import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise
from unittest.mock import patch

RUNS = 3
STEPS, BATCH = 9, 4
WARM_UP = 2


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def median_step(kept: bool) -> float:
    """Train in this process and return the CPU seconds of a step."""
    import skunlearn as sk
    from skunlearn.training.train import TrainRuntime

    ends = [cpu_seconds()]
    runtime = TrainRuntime(record=lambda _losses: ends.append(cpu_seconds()))
    where = "skunlearn.training.train.freed_memory_kept"
    with nullcontext() if kept else patch(where, nullcontext):
        options = sk.TrainOptions(steps=STEPS, batch=BATCH)
        sk.train(sk.load("smollm2-135m"), sk.SKU(), sk.Data(), options, runtime=runtime)
    steps = [after - before for before, after in pairwise(ends)]
    return statistics.median(steps[WARM_UP:])


def in_a_new_process(kept: bool) -> float:
    """Return what `median_step` gives in a fresh process."""
    command = [sys.executable, __file__, "kept" if kept else "returned"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    if len(sys.argv) > 1:
        print(median_step(sys.argv[1] == "kept"))
        return
    for run in range(RUNS):
        kept = in_a_new_process(True)
        returned = in_a_new_process(False)
        print(f"run {run + 1}: {kept:.2f} s kept, {returned:.2f} s returned: {returned / kept:.2f}")


if __name__ == "__main__":
    main()
