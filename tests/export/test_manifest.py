"""A manifest of somebody's export names plain files inside its folder, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from skunlearn.export.manifest import FORMAT, NAME, is_plain, read_manifest
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import RunError
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.workflows.push import push
from skunlearn.workflows.verify import verify

GOOD: dict[str, Any] = {
    "format": FORMAT,
    "options": {"format": "merged", "alpha": 1.0, "dtype": None, "rank": 64},
    "verdict": "PASS",
    "gates": [],
    "measured_alpha": 1.0,
    "base": {"name": "missing", "revision": None, "files": {}},
    "vectors": [],
    "data_sha256": None,
}


def made(folder: Path, names: list[str], **changes: Any) -> Path:
    """An export folder whose manifest lists files."""
    folder.mkdir(exist_ok=True)
    files = {}
    for name in names:
        path = folder / name
        sha256 = file_sha256(path) if path.is_file() else "0" * 64
        files[name] = {"bytes": 1, "sha256": sha256}
    (folder / NAME).write_text(json.dumps({**GOOD, "files": files, **changes}))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "../x.json",
        "/etc/passwd",
        "a/../../x",
        "C:\\x",
        "a\\b",
        "./x",
        "a//b",
        "",
        "a/",
        "..",
        "~:x",
        "x\n.json",
        "\x1b]0;x\x07.py",
        "*.py",
        " x",
    ],
)
def test_names_that_are_not_plain_are_refused(name: str, tmp_path: Path):
    assert not is_plain(name)
    with pytest.raises(RunError, match="no plain file name"):
        read_manifest(made(tmp_path / "out", [name]))


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", ".hidden", "é.txt"])
def test_plain_names_are_taken(name: str, tmp_path: Path):
    assert is_plain(name)
    assert name in read_manifest(made(tmp_path / "out", [name]))["files"]


def test_links_are_not_followed(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "config.json").write_text("{}")
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").symlink_to(secret / "config.json")
    (out / "folder").symlink_to(secret)
    for name in ("config.json", "folder/config.json"):
        with pytest.raises(RunError, match="is a link"):
            push(made(out, [name]), "org/model", Progress(), dry_run=True)
        with pytest.raises(RunError, match="is a link"):
            verify(made(out, [name]), None, None, Progress())


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "README.md", "code.py"])
def test_a_task_vector_is_never_uploaded_whatever_its_name(name: str, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    TaskVector({"w": torch.ones(2, 2)}, 1.0).save(tmp_path / "tau.safetensors")
    whole = (tmp_path / "tau.safetensors").read_bytes()
    for data in (whole, whole[:-4]):
        (out / name).write_bytes(data)
        with pytest.raises(RunError, match="a task vector, which is never uploaded"):
            push(made(out, [name]), "org/model", Progress(), despite_fail=True, dry_run=True)


def test_the_card_may_be_edited_and_nothing_else(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("README.md", "config.json"):
        (out / name).write_text("{}")
    made(out, ["README.md", "config.json"])
    (out / "README.md").write_text("# Ours\n\nWith more words.\n")
    assert "README.md" in push(out, "org/model", Progress(), dry_run=True)["files"]
    (out / "config.json").write_text('{"a": 1}')
    with pytest.raises(RunError, match=r"config\.json has changed"):
        push(out, "org/model", Progress(), dry_run=True)
    (out / "README.md").unlink()
    with pytest.raises(RunError, match=r"README\.md is missing"):
        push(out, "org/model", Progress(), dry_run=True)


@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"files": {"x": 1}},
        {"files": {"x": {"sha256": 1}}},
        {"base": "x"},
        {"base": {"name": ["x"], "files": {}}},
        {"base": {"name": "x", "files": []}},
        {"vectors": {}},
        {"vectors": [1]},
        {"vectors": [{"file": "../tau.safetensors", "sha256": "", "scale": 1.0}]},
        {"vectors": [{"file": "tau.safetensors", "sha256": "", "scale": "1"}]},
        {"options": {"alpha": "x"}},
        {"options": {}},
        {"gates": [{"passed": "yes", "text": ""}]},
        {"verdict": {}},
        {"measured_alpha": "1"},
    ],
)
def test_a_manifest_of_another_shape_is_one_line(change: dict[str, Any], tmp_path: Path):
    out = made(tmp_path / "out", [], **change)
    for check in (
        lambda: push(out, "org/model", Progress(), dry_run=True),
        lambda: verify(out, None, None, Progress()),
    ):
        with pytest.raises(RunError, match=r"skunlearn\.json"):
            check()
