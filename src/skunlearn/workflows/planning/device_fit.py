"""What fits a device's memory: from a model's config alone, before anything is loaded."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from zlib import crc32

import torch

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.models.loading import best_device, skeleton
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.requirements import (
    DeviceLayout,
    StepSize,
    count_parameters,
    estimate_memory,
    evaluate_seconds,
    matmul_flops,
    step_sizes,
    train_seconds,
)

LETTERS = 4  # a token, about, in English
TURN = 24  # tokens that a chat template puts around a prompt and before it, about
UNITS = {"MB": 1e6, "GB": 1e9, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Device:
    """What a run is to fit.

    Attributes:
        memory: bytes.
        most: devices of this kind that there are, 1 or more.
        flops: operations of matrix products a second; those of this machine's device when not
            given.
        on_cpu: it is a CPU with its memory.
    """

    memory: float
    most: int = 8
    flops: float | None = None
    on_cpu: bool = False


@dataclass(frozen=True)
class TrainingChoice:
    """One way to train.

    Attributes:
        mode: "lora" or "full".
        dtype: of the weights as they are loaded.
        batch: rows of each set in a step.
        checkpointing: whether layers are computed again for their gradients.
        devices: how many divide the work; 0 when it does not fit on all there are.
        memory_bytes: peak on each of them; of what does not fit, the least that was found.
        train_seconds: of all vectors.
        evaluate_seconds: of the strength and the evaluation at most, on one device.
        command: what to run; empty when it does not fit.
    """

    mode: str
    dtype: str
    batch: int
    checkpointing: bool
    devices: int
    memory_bytes: float
    train_seconds: float
    evaluate_seconds: float
    command: str


@dataclass(frozen=True)
class DeviceFit:
    """What `skunlearn plan --device-memory` shows.

    Attributes:
        model: what was asked for.
        method: its name.
        weights: parameters of the model, exactly.
        device_bytes: memory of a device.
        row_tokens: tokens of a training row, about.
        flops: operations a second that the times are for.
        measured: `flops` is this machine's.
        ways: the ways to train, the best of each kind.
        chosen: number of the way to take; None when nothing fits.
    """

    model: str
    method: str
    weights: int
    device_bytes: float
    row_tokens: float
    flops: float
    measured: bool
    ways: list[TrainingChoice]
    chosen: int | None

    def __str__(self) -> str:
        here = (
            ", measured here: give the other device's with --device-tflops" if self.measured else ""
        )
        lines = [
            f"{self.model}: {self.weights:,} parameters, {self.method}, rows of about {self.row_tokens:.0f} tokens",
            f"times at {self.flops / 1e12:.3g} TFLOP/s a device{here}",
            _line("train", "weights", "batch", "layers", "devices", "GB each", "train", "evaluate"),
        ]
        for way in self.ways:
            lines.append(
                _line(
                    way.mode,
                    way.dtype,
                    way.batch,
                    "twice" if way.checkpointing else "once",
                    way.devices or "none fit",
                    f"{way.memory_bytes / 1e9:.1f}",
                    _time(way.train_seconds),
                    _time(way.evaluate_seconds),
                )
            )
        if self.chosen is None:
            return "\n".join([*lines, f"nothing fits in {self.device_bytes / 1e9:g} GB a device"])
        return "\n".join([*lines, "take:", f"  {self.ways[self.chosen].command}"])


def fit_device(
    run: Run,
    data: Data,
    device: Device,
    words: Sequence[str] = (),
    progress: Progress | None = None,
) -> DeviceFit:
    """The best of each way to train, and the one to take: that with the fewest changes, LoRA before
    full weights.

    Args:
        run: the settings; of its model only the config is read.
        data: its training rows; a token is taken to be four letters, since there need not be a
            tokenizer.
        device: what it is to fit.
        words: the options that made `run`, for the command.
        progress: is told of downloads.

    Raises:
        ModelError: when the config cannot be read.
    """
    model = skeleton(run.model, run.load, progress)
    flops = device.flops or _flops_here(model)
    sized = {batch: _with_batch(run, batch) for batch in _batches(run)}
    steps = {batch: _steps(one, model, data) for batch, one in sized.items()}
    ways: list[tuple[int, TrainingChoice]] = []
    for mode, dtype in _kinds(run, model):
        model.to(getattr(torch, dtype))
        tried = []
        for rank, (batch, layout) in enumerate(_ladder(run, device)):
            kind = replace(sized[batch], lora=replace(run.lora, mode=mode))
            found = estimate_memory(model, kind, run.make_method(), steps[batch], layout).total
            tried.append((found, rank, batch, layout, kind))
            if found <= device.memory:
                break
        least, rank, batch, layout, kind = min(tried, key=lambda one: one[0])
        fitting = least <= device.memory
        way = TrainingChoice(
            mode=mode,
            dtype=dtype,
            batch=batch,
            checkpointing=layout.checkpointing,
            devices=layout.devices if fitting else 0,
            memory_bytes=least,
            train_seconds=train_seconds(
                model, kind, steps[batch], flops * layout.devices, layout.checkpointing
            ),
            evaluate_seconds=evaluate_seconds(model, run, steps[batch], flops),
            command=_command(words, mode, dtype, batch, run, layout) if fitting else "",
        )
        ways.append((rank, way))
    fitting_ways = [(rank, number) for number, (rank, way) in enumerate(ways) if way.devices]
    mine = steps[run.train.batch]
    return DeviceFit(
        model=run.model,
        method=run.method_name,
        weights=count_parameters(model),
        device_bytes=device.memory,
        row_tokens=sum(step.read for step in mine) / sum(step.rows for step in mine),
        flops=flops,
        measured=device.flops is None,
        ways=[way for _, way in ways],
        chosen=min(fitting_ways)[1] if fitting_ways else None,
    )


def bytes_of(text: str) -> float:
    """Bytes of a text like 24GB, 24GiB or 512MB.

    Raises:
        ConfigError: when it has not that form.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|MiB|GiB)", text.strip(), flags=re.I)
    if not found or not float(found[1]):
        raise ConfigError(f"--device-memory {text}: write a size like 24GB, 24GiB or 512MB")
    return float(found[1]) * UNITS[found[2].upper()]


class _Template:
    """Stands for a tokenizer where there may be none: rows of the right lengths, like tokens for
    like texts."""

    def encode(self, example: Example, max_length: int) -> Encoded:
        said = "".join(text for _, text in example.history) + example.prompt + example.prefix
        prompt = ((0,) * TURN * (1 + len(example.history)) + _pieces(said))[: max_length - 1]
        return Encoded(prompt, self.answer_ids(example.answer)[: max_length - len(prompt)])

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        return (*_pieces(answer), 0)


def _pieces(text: str) -> tuple[int, ...]:
    return tuple(crc32(text[at : at + LETTERS].encode()) for at in range(0, len(text), LETTERS))


@dataclass(frozen=True)
class _Sketch:
    model: Any
    template: _Template = _Template()


def _steps(run: Run, model: Any, data: Data) -> list[StepSize]:
    return [
        step
        for stage in run.stages(run.make_method())
        for step in step_sizes(stage, _Sketch(model), data)
    ]


def _kinds(run: Run, model: Any) -> list[tuple[Literal["lora", "full"], str]]:
    """What is trained, and the type of the weights: the run's own where it names one, else the
    config's first."""
    own = str(model.dtype).removeprefix("torch.") if run.load.dtype == "auto" else run.load.dtype
    other = "float32" if own != "float32" else "bfloat16"
    full: list[tuple[Literal["lora", "full"], str]] = [] if run.lora.nf4 else [("full", own)]
    return [("lora", own), ("lora", other), *full]


def _batches(run: Run) -> list[int]:
    """The run's own batch, and halves of it."""
    sizes = [run.train.batch]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def _with_batch(run: Run, batch: int) -> Run:
    beside = replace(run.refuse.train, batch=min(batch, run.refuse.train.batch))
    if batch == run.train.batch:
        return run
    return replace(
        run, train=replace(run.train, batch=batch), refuse=replace(run.refuse, train=beside)
    )


def _ladder(run: Run, device: Device) -> Iterator[tuple[int, DeviceLayout]]:
    """What is tried, in order: nothing changed, layers computed twice, smaller batches, then more
    devices."""
    batch, devices = run.train.batch, 1
    yield batch, DeviceLayout(device.on_cpu)
    for smaller in _batches(run):
        yield smaller, DeviceLayout(device.on_cpu, checkpointing=True)
    while (devices := 2 * devices) <= device.most:
        for smaller in (batch, 1):
            yield smaller, DeviceLayout(device.on_cpu, True, devices)


def _command(
    words: Sequence[str], mode: str, dtype: str, batch: int, run: Run, layout: DeviceLayout
) -> str:
    wanted = {
        "lora.mode": (mode, run.lora.mode),
        "load.dtype": (dtype, run.load.dtype),
        "train.batch": (batch, run.train.batch),
        "refuse.train.batch": (min(batch, run.refuse.train.batch), run.refuse.train.batch),
        "compute.gradient_checkpointing": (
            str(layout.checkpointing).lower(),
            str(run.compute.gradient_checkpointing).lower(),
        ),
        "compute.shard": ("fsdp" if layout.devices > 1 else "none", run.compute.shard),
    }
    if batch == run.train.batch:
        del wanted["refuse.train.batch"]
    sets = [
        word
        for name, (new, old) in wanted.items()
        if new != old
        for word in ("--set", f"{name}={new}")
    ]
    more = ["--processes", str(layout.devices)] if layout.devices > 1 else []
    folders = [
        word.removesuffix("/config.json") for word in words
    ]  # a run takes the model that a config lies in
    return shlex.join(["skunlearn", "run", *folders, *more, *sets])


def _flops_here(model: Any) -> float:
    device = torch.device(best_device())
    dtype = torch.float32 if device.type == "cpu" else model.dtype
    return matmul_flops(model.config.get_text_config().hidden_size, dtype, device)


def _line(*cells: object) -> str:
    widths = (6, 9, 6, 7, 9, 8, 8, 9)
    return " ".join(
        f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
