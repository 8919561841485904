"""Which way to train fits a device's memory, from a model's config alone.

For each kind of training (LoRA or full weights, data type) layouts are tried from the most
comfortable to the tightest, until one fits the device.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from skunlearn.data.dataset import Data
from skunlearn.models.loading import best_device, skeleton
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.letters import estimated_steps
from skunlearn.workflows.planning.memory import DeviceLayout, estimate_memory
from skunlearn.workflows.planning.requirements import (
    StepSize,
    count_parameters,
    evaluate_seconds,
    matmul_flops,
    train_seconds,
)
from skunlearn.workflows.planning.training_choice import DeviceFit, TrainingChoice

UNITS = {"MB": 1e6, "GB": 1e9, "MIB": 2**20, "GIB": 2**30}
Mode = Literal["lora", "full"]


@dataclass(frozen=True)
class Device:
    """The device that a run is to fit.

    Attributes:
        memory: bytes.
        most: how many devices of this kind there are, 1 or more.
        flops: operations of matrix products a second; measured on this machine when not given.
        on_cpu: it is a CPU with its memory.
    """

    memory: float
    most: int = 8
    flops: float | None = None
    on_cpu: bool = False


def fit_device(
    run: Run,
    data: Data,
    device: Device,
    words: Sequence[str] = (),
    progress: Progress | None = None,
) -> DeviceFit:
    """Find the best layout for each kind of training, and the way to recommend.

    The recommended way is the one with the fewest changes to the run; of equals LoRA comes before
    full weights.

    Args:
        run: the settings; only the config of its model is read.
        data: its training rows. Their tokens are estimated from their letters, since there may be
            no tokenizer.
        device: what the training must fit.
        words: the options of the command line that made `run`, for the recommended command.
        progress: reports downloads.

    Raises:
        ModelError: when the config cannot be read.
    """
    model = skeleton(run.model, run.load, progress)
    flops = device.flops or _measured_flops(model)
    by_batch: dict[int, _SizedRun] = {}
    for batch in _batches(run):
        sized = _with_batch(run, batch)
        by_batch[batch] = _SizedRun(sized, estimated_steps(sized, model, data))

    ways: list[TrainingChoice] = []
    ranks: list[tuple[int, int]] = []  # (changes to the run, number of the way) of those that fit
    for mode, dtype in _kinds(run, model):
        model.to(getattr(torch, dtype))
        fit = _first_fit(model, run, mode, by_batch, device)
        if fit.memory_bytes <= device.memory:
            ranks.append((fit.rank, len(ways)))
        ways.append(_choice(fit, model, run, device, flops, words))

    own_steps = by_batch[run.train.batch].steps
    tokens = sum(step.read for step in own_steps)
    rows = sum(step.rows for step in own_steps)
    return DeviceFit(
        model=run.model,
        method=run.method_name,
        weights=count_parameters(model),
        device_bytes=device.memory,
        row_tokens=tokens / rows,
        flops=flops,
        measured=device.flops is None,
        ways=ways,
        chosen=min(ranks)[1] if ranks else None,
    )


@dataclass(frozen=True)
class _SizedRun:
    """A run with another batch, and the sizes of its steps."""

    run: Run
    steps: list[StepSize]


@dataclass(frozen=True)
class _Fit:
    """The layout for one kind of training.

    Attributes:
        memory_bytes: its peak on each device.
        rank: its place in the order of `_layouts`; the more, the more of the run is changed.
        batch: rows of each set in a step.
        layout: the devices.
        run: the settings with this batch and mode.
        steps: the sizes of its steps.
    """

    memory_bytes: float
    rank: int
    batch: int
    layout: DeviceLayout
    run: Run
    steps: list[StepSize]


def _first_fit(
    model: Any, run: Run, mode: Mode, by_batch: dict[int, _SizedRun], device: Device
) -> _Fit:
    """The first layout that fits the device; if there is none, the one with the least memory."""
    method = run.make_method()
    lora = replace(run.lora, mode=mode)
    tried: list[_Fit] = []
    for rank, (batch, layout) in enumerate(_layouts(run, device)):
        sized = by_batch[batch]
        changed = replace(sized.run, lora=lora)
        memory = estimate_memory(model, changed, method, sized.steps, layout).total
        tried.append(_Fit(memory, rank, batch, layout, changed, sized.steps))
        if memory <= device.memory:
            break
    return min(tried, key=lambda fit: fit.memory_bytes)


def _layouts(run: Run, device: Device) -> Iterator[tuple[int, DeviceLayout]]:
    """Batch and layout in the order in which they are tried, from the most comfortable on.

    First the run as it is, then with gradient checkpointing, then with smaller batches, then on
    more devices.
    """
    batch = run.train.batch
    yield batch, DeviceLayout(device.on_cpu)
    for smaller in _batches(run):
        yield smaller, DeviceLayout(device.on_cpu, checkpointing=True)
    devices = 2
    while devices <= device.most:
        yield batch, DeviceLayout(device.on_cpu, True, devices)
        yield 1, DeviceLayout(device.on_cpu, True, devices)
        devices *= 2


def _choice(
    fit: _Fit, model: Any, run: Run, device: Device, flops: float, words: Sequence[str]
) -> TrainingChoice:
    """A layout as a way to train, with its times and its command.

    Args:
        fit: the layout.
        model: in the data type of this kind of training.
        run: the settings as they were given.
        device: what the training must fit.
        flops: operations a second of one device.
        words: as in `fit_device`.
    """
    layout = fit.layout
    fits = fit.memory_bytes <= device.memory
    mode = fit.run.lora.mode
    dtype = _dtype_name(model)
    return TrainingChoice(
        mode=mode,
        dtype=dtype,
        batch=fit.batch,
        checkpointing=layout.checkpointing,
        devices=layout.devices if fits else 0,
        memory_bytes=fit.memory_bytes,
        train_seconds=train_seconds(
            model, fit.run, fit.steps, flops * layout.devices, layout.checkpointing
        ),
        evaluate_seconds=evaluate_seconds(model, run, fit.steps, flops),
        command=_command(words, run, fit, dtype) if fits else "",
    )


def bytes_of(text: str) -> float:
    """The bytes of a size like 24GB, 24GiB or 512MB.

    Raises:
        ConfigError: when the text is no such size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|MiB|GiB)", text.strip(), flags=re.I)
    if not found or not float(found[1]):
        raise ConfigError(f"--device-memory {text}: write a size like 24GB, 24GiB or 512MB")
    return float(found[1]) * UNITS[found[2].upper()]


def _kinds(run: Run, model: Any) -> list[tuple[Mode, str]]:
    """(mode, data type) of each kind of training.

    The data type is first the run's own where it names one, else the config's.
    """
    own = _dtype_name(model) if run.load.dtype == "auto" else run.load.dtype
    other = "float32" if own != "float32" else "bfloat16"
    kinds: list[tuple[Mode, str]] = [("lora", own), ("lora", other)]
    if not run.lora.nf4:  # weights in four bits cannot be trained in full
        kinds.append(("full", own))
    return kinds


def _dtype_name(model: Any) -> str:
    return str(model.dtype).removeprefix("torch.")


def _batches(run: Run) -> list[int]:
    """The run's own batch, its half, its quarter and so on, down to 1."""
    sizes = [run.train.batch]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def _with_batch(run: Run, batch: int) -> Run:
    """The run with a batch for all vectors; that of the refusal vector is only made smaller."""
    if batch == run.train.batch:
        return run
    refusal = replace(run.refuse.train, batch=min(batch, run.refuse.train.batch))
    return replace(
        run,
        train=replace(run.train, batch=batch),
        refuse=replace(run.refuse, train=refusal),
    )


def _command(words: Sequence[str], run: Run, fit: _Fit, dtype: str) -> str:
    """The command that runs with a layout: the given options, and those that the layout changes.

    Args:
        words: as in `fit_device`.
        run: the settings as they were given.
        fit: the layout.
        dtype: data type in which the weights are loaded.
    """
    checkpointing = fit.layout.checkpointing
    sharded = fit.layout.devices > 1
    changes = [
        ("lora.mode", run.lora.mode, fit.run.lora.mode),
        ("load.dtype", run.load.dtype, dtype),
        ("train.batch", run.train.batch, fit.batch),
        ("refuse.train.batch", run.refuse.train.batch, fit.run.refuse.train.batch),
        (
            "compute.gradient_checkpointing",
            str(run.compute.gradient_checkpointing).lower(),
            str(checkpointing).lower(),
        ),
        ("compute.shard", run.compute.shard, "fsdp" if sharded else "none"),
    ]
    command = ["skunlearn", "run"]
    for word in words:  # a run takes the folder of a config.json
        command.append(word.removesuffix("/config.json"))
    if sharded:
        command += ["--processes", str(fit.layout.devices)]
    for name, old, new in changes:
        if new != old:
            command += ["--set", f"{name}={new}"]
    return shlex.join(command)


def _measured_flops(model: Any) -> float:
    """Operations a second of this machine's device, at the width of the model."""
    device = torch.device(best_device())
    dtype = torch.float32 if device.type == "cpu" else model.dtype
    return matmul_flops(model.config.get_text_config().hidden_size, dtype, device)
