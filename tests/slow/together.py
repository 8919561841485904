"""What each of several processes does in `test_processes`: trainings of a toy, whose outcome the
first one writes."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))
import toy

from skunlearn.data.dataset import Data, DataOptions
from skunlearn.methods.base import Method
from skunlearn.methods.dpo import DPO
from skunlearn.methods.rmu import RMU
from skunlearn.methods.sku import SKU
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.lora import LoraOptions
from skunlearn.training.train import TrainOptions, TrainRuntime, train
from skunlearn.training.trainable_model import TrainableModel

STEPS = TrainOptions(steps=4, batch=3, lr=5e-3, checkpoint=2)
FSDP = {"shard": "fsdp"}
CASES: dict[str, tuple[str, Method, str, dict[str, Any]]] = {
    "lora": ("Llama", SKU(rd_weight=1), "lora", {}),
    "full": ("Llama", SKU(rd_weight=1), "full", {}),
    "parts": ("GPT2", SKU(), "lora", {"accumulate": 2, "gradient_checkpointing": True}),
    "pairs": ("Llama", DPO(), "lora", {}),
    "experts": ("Mixtral", SKU(), "full", {}),
    "fsdp-lora": ("Llama", SKU(rd_weight=1), "lora", FSDP),
    "fsdp-full": ("Llama", SKU(rd_weight=1), "full", FSDP),
    "fsdp-asked": ("Llama", SKU(), "lora", {}),  # by the launcher alone
    "fsdp-parts": (
        "Llama",
        RMU(),
        "full",
        {**FSDP, "accumulate": 2, "gradient_checkpointing": True},
    ),
}


class KilledError(Exception):
    """Stands for kill -9, on all processes at the same step."""


def run(
    name: str, pairs: tuple[Path, Path], alone: bool, checkpoints: Path | None = None, kill: int = 0
) -> tuple:
    """tau, the losses, and the type of each parameter after sharding (none without it)."""
    family, method, mode, compute = CASES[name]
    records: list[dict[str, float]] = []
    kinds: list[str] = []
    made = TrainableModel.shard

    def shard(self: TrainableModel) -> None:
        made(self)
        kinds.extend(type(p.data).__name__ for p in self.model.parameters())

    def record(values: dict[str, float]) -> None:
        records.append(values)
        if values["step"] == kill:
            raise KilledError

    lm = toy.lm(family)
    before = toy.model(family).state_dict()
    data = Data(*pairs, DataOptions(lookalike=False))
    options = LoraOptions(mode=mode, rank=2, frozen=0)
    how = ComputeOptions() if alone else ComputeOptions(**compute)
    asked = {"ACCELERATE_USE_FSDP": "true"} if name == "fsdp-asked" else {}
    with patch.object(TrainableModel, "shard", shard), patch.dict(os.environ, asked):
        runtime = TrainRuntime(how, checkpoints, record)
        tau = train(lm, method, data, STEPS, options, runtime=runtime)
    assert all((lm.model.state_dict()[key] == value).all() for key, value in before.items()), (
        "not the base"
    )
    return tau, records, kinds


def main(folder: Path) -> None:
    """All cases, and one that is killed and goes on."""
    pairs = folder / "forget.jsonl", folder / "retain.jsonl"
    dist.init_process_group("gloo")
    first = dist.get_rank() == 0
    for name in CASES:
        tau, records, kinds = run(name, pairs, alone=False)
        if first:
            tau.save(folder / f"{name}.safetensors")
            result = {"world": dist.get_world_size(), "records": records, "kinds": kinds}
            (folder / f"{name}.json").write_text(json.dumps(result))
    for name in ("lora", "fsdp-full"):
        checkpoints = folder / f"state-{name}" if first else None
        with suppress(KilledError):
            run(name, pairs, alone=False, checkpoints=checkpoints, kill=3)
        tau, records, _ = run(name, pairs, alone=False, checkpoints=checkpoints)
        assert [row["step"] for row in records] == [3, 4], "it did not go on from the last state"
        if first:
            tau.save(folder / f"again-{name}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
