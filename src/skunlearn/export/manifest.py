"""The manifest of an export, skunlearn.json: where it comes from, and the hash of every file."""

import json
import re
from pathlib import Path
from types import NoneType
from typing import Any

from skunlearn.export.base import Finding
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

# A part of a file's name: no separator, drive, wildcard or control character of any system.
PLAIN = re.compile(r"[^\\/:*?\"<>|\x00-\x1f\x7f]+")
LONGEST_NAME = 255
NAME, CARD, FORMAT = "skunlearn.json", "README.md", "skunlearn-export-1"


def write_manifest(folder: Path, facts: JsonDict, progress: Progress) -> JsonDict:
    """Hash every file of the folder, then write the manifest.

    Args:
        folder: of the export, otherwise finished.
        facts: what else the manifest says.
        progress: reports every file.

    Returns:
        The contents of the manifest.
    """
    files = {}
    for name in progress.over("hashing the export", _files(folder)):
        path = folder / name
        files[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    manifest = {"format": FORMAT, **facts, "files": files}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> JsonDict:
    """Read the manifest of an export folder.

    Raises:
        RunError: when the folder is no export.
    """
    manifest = read_json(folder / NAME)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RunError(
            f"{folder}: no {NAME} of an export here: give a folder that 'skunlearn export' made"
        )
    _check_shape(folder / NAME, manifest)
    for name in manifest["files"]:
        _check_name(folder, name)
    return manifest


def _check_shape(path: Path, manifest: JsonDict) -> None:
    """Check the types of what a manifest says.

    Raises:
        RunError: for the first that is wrong.
    """

    def check(where: str, value: Any, *kinds: type[Any]) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise RunError(f"{path}: {where} is {value!r:.40}: export again")

    for name in ("files", "base", "options"):
        check(name, manifest[name], dict)
    for name in ("vectors", "gates"):
        check(name, manifest[name], list)
    check("verdict", manifest["verdict"], str, NoneType)
    check("measured_alpha", manifest["measured_alpha"], int, float, NoneType)
    check("relative_error", manifest.get("relative_error", 0), int, float)
    check("options.alpha", manifest["options"]["alpha"], int, float)
    for name, fact in manifest["files"].items():
        check(f"files.{name:.40}", fact, dict)
        check(f"files.{name:.40}.sha256", fact["sha256"], str)
    for number, gate in enumerate(manifest["gates"]):
        check(f"gates.{number}", gate, dict)
        check(f"gates.{number}.passed", gate["passed"], bool)
        check(f"gates.{number}.text", gate["text"], str)
    for number, vector in enumerate(manifest["vectors"]):
        check(f"vectors.{number}", vector, dict)
        check(f"vectors.{number}.file", vector["file"], str)
        check(f"vectors.{number}.sha256", vector["sha256"], str)
        check(f"vectors.{number}.scale", vector["scale"], int, float)
        if not is_plain(vector["file"]):
            raise RunError(f"{path}: vectors.{number}.file is no plain name: export again")
    base = manifest["base"]
    check("base.name", base["name"], str)
    check("base.revision", base.get("revision"), str, NoneType)
    check("base.files", base["files"], dict)


def is_plain(name: str) -> bool:
    """Whether a name is a relative path with plain parts, on every system."""
    parts = name.split("/")
    if name != name.strip() or len(name) > LONGEST_NAME:
        return False
    return all(PLAIN.fullmatch(part) and part.strip(".") for part in parts)


def _check_name(folder: Path, name: str) -> None:
    """Check that a listed file lies inside the folder, and that no link leads to it.

    Raises:
        RunError: when it does not.
    """
    path = folder
    if not is_plain(name):
        raise RunError(f"{folder / NAME}: '{name:.60}' is no plain file name: export again")
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise RunError(f"{path} is a link: put the file itself there, or export again")


def check_files(
    folder: Path, manifest: JsonDict, progress: Progress, except_for: tuple[str, ...] = ()
) -> Finding:
    """Check that every listed file is there and unchanged; files not listed are only counted.

    Args:
        folder: the export.
        manifest: its manifest.
        progress: reports every file.
        except_for: files that may have changed.
    """
    wrong = []
    for name, fact in progress.over("hashing the export", list(manifest["files"].items())):
        path = folder / name
        if name in except_for and path.is_file():
            continue
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif file_sha256(path) != fact["sha256"]:
            wrong.append(f"{name} has changed")
    what = "files are as exported"
    if wrong:
        return Finding(what, "differs", "; ".join(wrong))
    detail = f"{len(manifest['files'])} files"
    others = len(unlisted(folder, manifest))
    if others:
        detail += f", {others} others not listed"
    return Finding(what, "ok", detail)


def unlisted(folder: Path, manifest: JsonDict) -> list[str]:
    """Files in the folder that the manifest does not list, sorted by name."""
    return sorted(set(_files(folder)) - set(manifest["files"]) - {NAME})


def _files(folder: Path) -> list[str]:
    """All files of a folder and of those inside it, as sorted paths relative to it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in paths]
