"""Several processes that train one model: launching them, and joining and leaving their group.

The first process (rank 0) does the whole job and alone writes and prints. The others wait for it to
broadcast what to train (`workflows.unlearn.serve_training`), until it releases them. In a single
process, the functions that deal with the group do nothing.
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

# An environment variable, set where `launch` reports a process that died.
LAUNCHED = "SKUNLEARN_LAUNCHED"
# The workers wait in a broadcast while the first process evaluates, which may take long. A process
# that dies is noticed at once, whatever the timeout.
TIMEOUT = timedelta(days=14)
# The exit code of a process that ends because another one has died; `launch` reports that one.
PEER_DIED = 3
# Parts of torch's messages in a process whose peer has died.
PEER_DIED_SIGNS = ("by peer", "Broken pipe", "NCCL")
# Environment variables that `accelerate launch` sets to "true" for FSDP and for DeepSpeed.
SHARDING_VARIABLES = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
RESUME = "the same command goes on from the last finished piece of work"


def started() -> bool:
    """Whether a launcher (ours, torchrun, accelerate) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def launcher_shards() -> bool:
    """Whether accelerate's launcher requests sharded weights: FSDP, or DeepSpeed (ZeRO-3)."""
    if world_size() == 1:
        return False
    return any(os.environ.get(name) == "true" for name in SHARDING_VARIABLES)


def launch(number: int) -> int:
    """Run the present command in several processes, with torch's elastic launcher.

    Args:
        number: of processes (2 or more).

    Returns:
        The exit code of the command.

    Raises:
        ConfigError: when there are fewer GPUs than processes.
        RunError: when a process died.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus = torch.cuda.device_count()
    if 0 < gpus < number:
        raise ConfigError(f"--processes {number}: there are {gpus} GPUs: give at most as many")
    # Share the CPU cores among the processes.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    os.environ[LAUNCHED] = "1"
    _silence_launcher()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
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


def _silence_launcher() -> None:
    """Turn off the launcher's own log, which takes many lines for what we report in one."""
    import logging

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _exit_code(failures: dict[int, Any], number: int) -> int:
    """The exit code of the command, from the processes that failed.

    Args:
        failures: rank -> torch's `ProcessFailure`.
        number: of processes.

    Raises:
        RunError: when a process was killed or ended in an unexpected way.
    """
    # Find the process that failed first. One that the launcher terminated, or that ended because
    # its peer died, comes last; a killed one (whose exit code is negative) comes before one with an
    # error, which may be a consequence of the kill.
    consequences = (-int(signal.SIGTERM), PEER_DIED)

    def order(failure: Any) -> tuple[bool, bool, int]:
        is_consequence = failure.exitcode in consequences
        return is_consequence, failure.exitcode > 0, failure.local_rank

    first = min(failures.values(), key=order)
    if first.exitcode in (1, 2):
        return int(first.exitcode)  # the process has reported its error itself
    if first.exitcode < 0:
        how = f"{first.signal_name()}; often too little memory"
    else:
        how = f"exit code {first.exitcode}"
    raise RunError(f"process {first.local_rank + 1} of {number} ended ({how}): {RESUME}")


@contextmanager
def process_group() -> Iterator[bool]:
    """A block in which this process is a member of torch's process group.

    Without a launcher there is no group. With one, the first process releases the workers at the
    end of the block, if it has not done so before.

    Yields:
        Whether this is the first or the only process.

    Raises:
        RunError: when another process has died. Under `launch`, which reports that, this process
            exits silently instead.
    """
    if not started():
        yield True
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)
    first = rank() == 0
    try:
        yield first
    except SkunlearnError:
        # Either all processes raised it, or the first one alone, and the workers wait for it.
        if first:
            release_workers()
        raise
    except (RuntimeError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if not interrupted and not _peer_died(error):
            raise
        if LAUNCHED in os.environ:
            sys.exit(PEER_DIED)
        if interrupted:
            raise
        raise RunError(f"another process has ended: {RESUME}") from error
    else:
        if first:
            release_workers()
    finally:
        leave_group()


def _peer_died(error: BaseException) -> bool:
    """Whether torch raised this because another process of the group has died."""
    message = str(error)
    return any(sign in message for sign in PEER_DIED_SIGNS)


def release_workers() -> None:
    """Release the workers, which wait for a broadcast; the first process goes on alone."""
    if world_size() > 1:
        broadcast(None)
    leave_group()


def leave_group() -> None:
    """Leave torch's process group, if this process is in one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
