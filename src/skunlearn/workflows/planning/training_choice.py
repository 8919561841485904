"""The ways to train a run on a device, as `skunlearn plan --device-memory` shows them."""

from dataclasses import dataclass

# Widths of the columns in the table of the ways to train.
WIDTHS = (6, 9, 6, 7, 9, 8, 8, 9)


@dataclass(frozen=True)
class TrainingChoice:
    """One way to train.

    Attributes:
        mode: "lora" or "full".
        dtype: data type in which the weights are loaded.
        batch: rows of each set in a step.
        checkpointing: gradient checkpointing, which computes the layers twice.
        devices: on how many devices the training is sharded; 0 when it does not fit on all there
            are.
        memory_bytes: peak on each device; if nothing fits, the least that was found.
        train_seconds: of all vectors.
        evaluate_seconds: of choosing the strength and the evaluation at most, on one device.
        command: the command to run; empty when it does not fit.
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
        model: the model's name as it was given.
        method: the method's name.
        weights: parameters of the model, exactly.
        device_bytes: memory of a device.
        row_tokens: mean tokens of a training row, about.
        flops: operations a second that the times are computed with.
        measured: `flops` was measured on this machine.
        ways: the ways to train, the best one of each kind.
        chosen: number of the recommended way, from 0; None when nothing fits.
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
        speed = f"times at {self.flops / 1e12:.3g} TFLOP/s a device"
        if self.measured:
            speed += ", measured here: give the other device's with --device-tflops"
        lines = [
            f"{self.model}: {self.weights:,} parameters, {self.method}, "
            f"rows of about {self.row_tokens:.0f} tokens",
            speed,
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
            lines.append(f"nothing fits in {self.device_bytes / 1e9:g} GB a device")
        else:
            lines += ["take:", f"  {self.ways[self.chosen].command}"]
        return "\n".join(lines)


def _line(*cells: object) -> str:
    """A row of the table, each cell padded to the width of its column."""
    line = ""
    for cell, width in zip(cells, WIDTHS, strict=True):
        line += f"{cell!s:<{width}} "
    return line.rstrip()


def _time(seconds: float) -> str:
    """A duration in the largest unit of which it has one and a half."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
