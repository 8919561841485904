"""Logging of each step's losses to TensorBoard, Weights & Biases or trackio, by accelerate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from skunlearn.models.compat import tracker_class
from skunlearn.utils.errors import ConfigError

Log = Callable[[dict[str, float]], None]


def check_tracker(name: str) -> None:
    """Check that a tracker is installed.

    Args:
        name: of its package, or "none".

    Raises:
        ConfigError: when it is not; the message contains the command that installs it.
    """
    if name != "none" and find_spec(name) is None:
        raise ConfigError(f"compute.tracker={name} is not installed: pip install {name}")


@contextmanager
def tracked(name: str, folder: Path, vector: str) -> Iterator[Log]:
    """A block in which the losses of one task vector are logged.

    Args:
        name: "none", or the name of a tracker in accelerate. TensorBoard writes into
            `folder`/tracker; the others have a project "skunlearn".
        folder: the run folder.
        vector: the name of the task vector.

    Yields:
        A function that logs the losses of a step, given with their `step`.
    """
    if name == "none":
        yield lambda values: None
        return
    make = tracker_class(name)
    if make.requires_logging_directory:
        tracker = make(vector, logging_dir=folder / "tracker")
    else:
        tracker = make("skunlearn", name=f"{folder.name}-{vector}")
    tracker.start()

    def log(values: dict[str, float]) -> None:
        losses = dict(values)
        step = int(losses.pop("step"))
        tracker.log(losses, step=step)

    try:
        yield log
    finally:
        tracker.finish()
