"""skunlearn.json: what an export is made of, with the hash of every file."""

import json
from pathlib import Path

from skunlearn.export.base import Finding
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import JsonDict, read_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

NAME, CARD, FORMAT = "skunlearn.json", "README.md", "skunlearn-export-1"


def write_manifest(folder: Path, facts: JsonDict, progress: Progress) -> JsonDict:
    """Hash every file of the folder and write the manifest, last.

    Returns:
        Its contents.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in progress.over("hashing the export", paths)
    }
    manifest = {"format": FORMAT, **facts, "files": files}
    (folder / NAME).write_text(
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return manifest


def read_manifest(folder: Path) -> JsonDict:
    """The manifest of an export folder.

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
    """Whether every file is there and as it was; files that the manifest does not list are only
    counted."""
    wrong = []
    for name, fact in progress.over("hashing the export", list(manifest["files"].items())):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif file_sha256(path) != fact["sha256"]:
            wrong.append(f"{name} has changed")
    other = len(unlisted(folder, manifest))
    detail = "; ".join(wrong) or f"{len(manifest['files'])} files" + (
        f", {other} others not listed" if other else ""
    )
    return Finding("files are as exported", "differs" if wrong else "ok", detail)


def unlisted(folder: Path, manifest: JsonDict) -> list[str]:
    """Files in the folder that the manifest does not list."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return sorted(found - set(manifest["files"]) - {NAME})
