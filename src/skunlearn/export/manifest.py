"""The manifest of an export, skunlearn.json: where it comes from, and the hash of every file."""

import json
from pathlib import Path

from skunlearn.export.base import Finding
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

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
    return manifest


def check_files(folder: Path, manifest: JsonDict, progress: Progress) -> Finding:
    """Check that every listed file is there and unchanged; files not listed are only counted."""
    wrong = []
    for name, fact in progress.over("hashing the export", list(manifest["files"].items())):
        path = folder / name
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
