"""The benchmarks: `make bench`, or `make bench-quick` for the headline ratios.

    python benchmarks/bench.py [--quick]

Prints a table; without --quick it also writes benchmarks/results.json (name -> value, unit, ratio,
against what). --quick takes 2 + 2 + 2 rows, prints the ratios on its last line and exits with 1
when one is under its target.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from machine import Line, flops_of, peak_flops
from parts import each_method, each_trick, start_up
from steps import EVERYWHERE, METHOD, baseline, mean_length, ours, rows_of, timed

from skunlearn.data.dataset import Data
from skunlearn.data.examples import distinct
from skunlearn.models.loading import load
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.memory import high_water

OUT = Path(__file__).parent / "results.json"
TARGETS = {
    "naive step, padded to 512": 8.0,
    "naive step, padded to 256": 4.0,
    "plain step": 1.7,
    "generate": 1.2,
}


def steps(lm, data: Data, batch: int, repeats: int) -> dict[str, Line]:
    """Our step against the others, on the same rows."""
    all_rows = [
        rows_of(lm, data, batch, step) for step in range(2, 2 + repeats)
    ]  # those that `ours` times
    length = statistics.mean(map(mean_length, all_rows))
    seconds, examples = ours(lm, data, batch, repeats), 3 * batch
    theirs = {
        name: statistics.median(baseline(lm, all_rows[: 1 if pad_to else repeats], pad_to, second))
        for name, pad_to, second in (
            ("naive step, padded to 512", 512, True),
            ("naive step, padded to 256", 256, True),
            ("plain step", None, False),
        )
    }
    mine = statistics.median(
        seconds + ours(lm, data, batch, repeats)
    )  # before and after: machines drift
    return {
        "mean length": Line(length, "tokens a row"),
        "step": Line(examples / mine, "examples/s"),
        "step, tokens": Line(examples * length / mine, "tokens/s"),
        **{
            name: Line(examples / s, "examples/s", s / mine, "our step")
            for name, s in theirs.items()
        },
    }


def matmul_share(lm, data: Data, batch: int) -> Line:
    """Share of the matrix-multiply peak that a step reaches, reference and set-up left out."""

    def run(count: int) -> None:
        train(
            lm, METHOD, data, TrainOptions(steps=count, batch=batch, checkpoint=10**6), EVERYWHERE
        )

    counts = [flops_of(lambda n=n: run(n)) for n in (1, 3)]
    rows = int(3 * batch * mean_length(rows_of(lm, data, batch)))
    seconds = statistics.median(ours(lm, data, batch, 3))
    peak = peak_flops(rows)
    # the reference grows with the steps too, by one pass over the retain rows: a third of the rows,
    # forward only
    per_step = (counts[1] - counts[0]) / 2 * (1 - 1 / 9)
    return Line(
        per_step / seconds / peak, "share of peak", None, f"{peak / 1e9:.0f} GFLOP/s at {rows} rows"
    )


def generation(lm, data: Data, prompts: int, tokens: int) -> dict[str, Line]:
    """Our answers against `model.generate` at batch 16, both greedy, the same prompts."""
    examples = distinct(data.train.forget)[:prompts]
    start = time.perf_counter()
    order = lm.batches(examples)
    answers = [
        answer for numbers in order for answer in lm.answers([examples[n] for n in numbers], tokens)
    ]
    mine = time.perf_counter() - start
    written = sum(len(lm.tokenizer(answer)["input_ids"]) for answer in answers)
    tokenizer = lm.tokenizer
    tokenizer.padding_side = "left"

    def plain() -> None:
        for at in range(0, len(examples), 16):
            texts = [lm.template.render(example) for example in examples[at : at + 16]]
            batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            lm.model.generate(**batch, max_new_tokens=tokens, do_sample=False)

    theirs = timed(plain)
    return {
        "generation": Line(written / mine, "tokens/s"),
        "generate": Line(written / theirs, "tokens/s", theirs / mine, "our answers"),
    }


def memory(batch: int) -> dict[str, Line]:
    """Peak memory of one training step in a process of its own, over what its imports took."""
    found = json.loads(
        subprocess.run(
            [sys.executable, __file__, "--memory", str(batch)], capture_output=True, check=True
        ).stdout
    )
    extra = (found["peak"] - found["imports"]) / found["weights"]
    return {
        "memory of a step": Line(
            extra, "times the fp32 weights", None, f"{found['weights'] / 2**20:.0f} MiB of weights"
        )
    }


def memory_of_a_step(batch: int) -> None:
    """Print the numbers for `memory`."""
    import peft  # noqa: F401 - counted among the imports
    import transformers  # noqa: F401

    imports = high_water()
    lm, data = load("smollm2-135m"), Data()
    weights = sum(p.numel() * 4 for p in lm.model.parameters())
    train(lm, METHOD, data, TrainOptions(steps=1, batch=batch), EVERYWHERE)
    print(json.dumps({"imports": imports, "peak": high_water(), "weights": weights}))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory_of_a_step(options.memory)
        return 0
    torch.manual_seed(0)
    lm, data = load("smollm2-135m"), Data()
    batch, repeats = (2, 2) if options.quick else (8, 3)
    lines = steps(lm, data, batch, repeats)
    lines |= generation(lm, data, 32, 24 if options.quick else 40)
    if not options.quick:
        lines["matrix multiplication"] = matmul_share(lm, data, batch)
        lines |= memory(batch) | each_trick(lm, data, batch) | each_method(lm, data, 2) | start_up()
        OUT.write_text(
            json.dumps({name: asdict(line) for name, line in lines.items()}, indent=1) + "\n"
        )
    for name, line in lines.items():
        ratio = (
            f"{line.ratio:6.2f} x  ({line.against})"
            if line.ratio
            else (f"           ({line.against})" if line.against else "")
        )
        print(f"{name:<28} {line.value:10.2f} {line.unit:<24} {ratio}")
    ratios = {name: lines[name].ratio or 0.0 for name in TARGETS}
    print(
        " | ".join(
            f"{name} {ratio:.2f} (target {TARGETS[name]:g})" for name, ratio in ratios.items()
        )
    )
    return int(options.quick and any(ratio < TARGETS[name] for name, ratio in ratios.items()))


if __name__ == "__main__":
    sys.exit(main())
