"""Several processes that train one model: started here or by torchrun, and what they say to each
other.

The first process does the whole job and alone writes and prints; the others wait until it tells
them what to train. Without others every function here does nothing.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from skunlearn.utils.distributed import broadcast, rank, world_size
from skunlearn.utils.errors import ConfigError, RunError, SkunlearnError

OURS = "SKUNLEARN_LAUNCHED"  # set where `launch` is the one who tells of a dead process
PATIENCE = timedelta(
    days=14
)  # the others wait while the first one evaluates; a death is seen at once anyway
# the exit code of a process that ends since another one has, and leaves it to `launch` to tell
LEFT = 3
GONE = ("by peer", "Broken pipe", "NCCL")  # in what torch says when another process has died
DIVIDING = (
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
)  # "true" by `accelerate launch` with either


def started() -> bool:
    """Whether a launcher (ours, torchrun, accelerate) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def launcher_shards() -> bool:
    """Whether accelerate's launcher asks for divided weights: FSDP, or DeepSpeed, whose ZeRO-3
    divides the same."""
    return world_size() > 1 and any(os.environ.get(name) == "true" for name in DIVIDING)


def launch(number: int) -> int:
    """Start this very command as so many processes, by torch's own launcher.

    Args:
        number: of processes, 2 or more.

    Returns:
        The exit code of the command.

    Raises:
        ConfigError: when there are fewer GPUs than processes.
        RunError: when a process died.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if 0 < torch.cuda.device_count() < number:
        raise ConfigError(
            f"--processes {number}: there are {torch.cuda.device_count()} GPUs: give at most as many"
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    os.environ[OURS] = "1"
    _silence()
    config = LaunchConfig(
        1,
        1,
        number,
        run_id="skunlearn",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "skunlearn", *sys.argv[1:])
    except ChildFailedError as error:
        return _exit_code(error.failures, number)
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    return 0


def _silence() -> None:
    """The launcher's own log says in many lines what one of ours will."""
    import logging

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _exit_code(failures: dict[int, Any], number: int) -> int:
    """What the command ends with: a killed process counts most, since the others only end for want
    of it, by an error or by the launcher's SIGTERM."""
    meant = (-int(signal.SIGTERM), LEFT)
    failed = min(
        failures.values(), key=lambda f: (f.exitcode in meant, f.exitcode > 0, f.local_rank)
    )
    if failed.exitcode in (1, 2):
        return int(failed.exitcode)  # it said itself what was wrong
    how = (
        f"{failed.signal_name()}; often too little memory"
        if failed.exitcode < 0
        else f"exit code {failed.exitcode}"
    )
    raise RunError(
        f"process {failed.local_rank + 1} of {number} ended ({how}): "
        "the same command goes on from the last finished piece of work"
    )


@contextmanager
def process_group() -> Iterator[bool]:
    """A block inside which this process belongs to the others that were started with it, until they
    are dismissed.

    Yields:
        Whether this is the first (or only) one.

    Raises:
        RunError: when another one has died; where `launch` tells of that, this one ends in silence.
    """
    if not started():
        yield True
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE
    )
    first = rank() == 0
    try:
        yield first
    except SkunlearnError:  # all met it, or none but the first, whom the others wait for
        if first:
            release_workers()
        raise
    except (RuntimeError, KeyboardInterrupt) as error:
        stopped = isinstance(error, KeyboardInterrupt)
        if not stopped and not any(sign in str(error) for sign in GONE):
            raise
        if OURS in os.environ:
            sys.exit(LEFT)
        if stopped:
            raise
        raise RunError(
            "another process has ended: the same command goes on from the last finished piece of work"
        ) from error
    else:
        if first:
            release_workers()
    finally:
        leave_group()


def release_workers() -> None:
    """Let the others go, who wait for what they are told: the first process does the rest alone."""
    if world_size() > 1:
        broadcast(None)
    leave_group()


def leave_group() -> None:
    """Belong to no others any more."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
