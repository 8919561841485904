"""Edit a made checkpoint of several GB from file to file: peak memory, seconds, and whether the
result is right.

    python benchmarks/out_of_core.py --gigabytes 4

Makes a Llama-shaped bf16 checkpoint of that size in shards, with two LoRA vectors on all its linear
weights, edits it in a process of its own and prints that process's peak resident memory beside the
memory it had after its imports. Needs twice the size on disk, for a while.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import LlamaConfig

from skunlearn.export.out_of_core import INDEX, CheckpointFiles, StoredEdit
from skunlearn.export.safetensors_io import Entry, Shard, write_shard
from skunlearn.task_vectors.vector import LowRank, TaskVector, block_rows, moved
from skunlearn.utils.memory import high_water
from skunlearn.utils.progress import Progress

HIDDEN, INNER, VOCABULARY, RANK, SHARD = 2048, 5632, 32000, 16, 1 << 30
ALPHA = 0.8


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Parameters of the model."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        for name, shape in (
            *((f"self_attn.{side}_proj", (HIDDEN, HIDDEN)) for side in "qkvo"),
            ("mlp.gate_proj", (INNER, HIDDEN)),
            ("mlp.up_proj", (INNER, HIDDEN)),
            ("mlp.down_proj", (HIDDEN, INNER)),
            ("input_layernorm", (HIDDEN,)),
            ("post_attention_layernorm", (HIDDEN,)),
        ):
            found[f"model.layers.{layer}.{name}.weight"] = shape
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def make(folder: Path, gigabytes: float) -> None:
    """The checkpoint and its vectors."""
    layer = sum(torch.Size(shape).numel() for shape in shapes(1).values()) - 2 * VOCABULARY * HIDDEN
    layers = max(1, round((gigabytes * 1e9 / 2 - 2 * VOCABULARY * HIDDEN) / layer))
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=16,
        dtype="bfloat16",
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    groups: list[dict[str, Entry]] = [{}]
    for name, shape in shapes(layers).items():
        if sum(entry.bytes for entry in groups[-1].values()) > SHARD:
            groups.append({})
        groups[-1][name] = Entry(torch.bfloat16, shape)

    def values(entries: dict[str, Entry]) -> Iterator[torch.Tensor]:
        for entry in entries.values():
            for first in range(0, entry.rows, step := block_rows(entry.columns)):
                yield (
                    torch.randn(min(step, entry.rows - first), entry.columns).mul_(0.02).bfloat16()
                )

    names = [
        f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)
    ]
    for name, entries in zip(names, groups, strict=True):
        write_shard(folder / name, entries, values(entries), {"format": "pt"})
    index = {key: name for name, entries in zip(names, groups, strict=True) for key in entries}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    linear = {name: shape for name, shape in shapes(layers).items() if "_proj" in name}
    for name, safety in (("tau", -1.0), ("tau_refuse", 1.0)):
        factors = {
            key: LowRank(torch.randn(o, RANK) * 0.01, torch.randn(RANK, i))
            for key, (o, i) in linear.items()
        }
        TaskVector(dict(factors), safety).save(folder / f"{name}.safetensors")


def edit(folder: Path) -> StoredEdit:
    """theta_o + ALPHA (-tau + tau_refuse)."""
    return StoredEdit(
        [(folder / "tau.safetensors", -1.0), (folder / "tau_refuse.safetensors", 1.0)], ALPHA
    )


def run(folder: Path, out: Path) -> None:
    """The measured process."""
    before, start = high_water() / 2**20, time.monotonic()
    CheckpointFiles(folder).write(out, edit(folder), None, Progress())
    print(
        json.dumps(
            {
                "imports_mb": before,
                "peak_mb": high_water() / 2**20,
                "seconds": time.monotonic() - start,
            }
        )
    )


def wrong(folder: Path, out: Path) -> int:
    """Tensors of the last shard that are not bit for bit what the edit in memory gives."""
    tau, refuse = (
        TaskVector.load(folder / f"{name}.safetensors") for name in ("tau", "tau_refuse")
    )
    total = ALPHA * (-1.0 * tau + 1.0 * refuse)
    last = sorted(folder.glob("model-*.safetensors"))[-1]
    base, found = Shard(last), Shard(out / last.name)
    count = 0
    for name, entry in base.entries.items():
        weight = base.rows(name).reshape(entry.shape)
        wanted = moved(weight, total.deltas[name]) if name in total.deltas else weight
        count += not torch.equal(found.rows(name).reshape(entry.shape), wanted)
    return count


def main() -> None:
    """Make, run, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument(
        "--folder", type=Path, help="where to make it; a temporary folder when not given"
    )
    parser.add_argument("--run", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run(*given.run)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        base, out = Path(scratch) / "base", Path(scratch) / "out"
        base.mkdir()
        out.mkdir()
        make(base, given.gigabytes)
        size = sum(path.stat().st_size for path in base.glob("model-*.safetensors"))
        done = subprocess.run(
            [sys.executable, __file__, "--run", str(base), str(out)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found = json.loads(done.stdout)
        print(
            f"checkpoint {size / 1e9:.2f} GB bf16 in "
            f"{len(list(base.glob('model-*.safetensors')))} shards, 2 vectors"
        )
        print(
            f"peak {found['peak_mb']:.0f} MB ({found['imports_mb']:.0f} MB of it after the imports)"
        )
        print(
            f"{found['seconds']:.0f} s, {size / 1e6 / found['seconds']:.0f} MB/s; "
            f"{wrong(base, out)} tensors wrong"
        )


if __name__ == "__main__":
    main()
