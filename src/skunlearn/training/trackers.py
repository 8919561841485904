"""Each step's losses to TensorBoard, Weights & Biases or trackio, through accelerate's trackers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from skunlearn.utils.errors import ConfigError

Log = Callable[[dict[str, float]], None]


def check_tracker(name: str) -> None:
    """Refuse one that is not installed.

    Raises:
        ConfigError: with the line that installs it.
    """
    if name != "none" and find_spec(name) is None:
        raise ConfigError(f"compute.tracker={name} is not installed: pip install {name}")


@contextmanager
def tracked(name: str, folder: Path, vector: str) -> Iterator[Log]:
    """A block inside which the losses of a vector are logged.

    Args:
        name: "none", or a tracker of accelerate: TensorBoard writes into `folder`/tracker, the
            others have a project "skunlearn" of their own.
        folder: of the run.
        vector: its name.

    Yields:
        What is given each step's losses, with `step`.
    """
    if name == "none":
        yield lambda values: None
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if kind.requires_logging_directory:
        tracker = kind(vector, logging_dir=folder / "tracker")
    else:
        tracker = kind("skunlearn", name=f"{folder.name}-{vector}")
    tracker.start()

    def log(values: dict[str, float]) -> None:
        tracker.log(
            {key: value for key, value in values.items() if key != "step"}, step=int(values["step"])
        )

    try:
        yield log
    finally:
        tracker.finish()
