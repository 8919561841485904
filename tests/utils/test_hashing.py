"""Hashes of files, and of the files that settings name."""

from pathlib import Path

from skunlearn.utils.hashing import file_sha256, named_files, sampled_sha256


def test_a_change_in_the_middle_of_a_big_file_is_seen(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(9_000_000))
    before = sampled_sha256(path)
    with path.open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"\1" * 200_000)  # a small matrix
    assert sampled_sha256(path) != before


def test_files_that_settings_name(tmp_path: Path):
    code, rows = tmp_path / "mine.py", tmp_path / "rows.jsonl"
    code.write_text("x")
    rows.write_text("y")
    found = named_files(
        {"judge": f"{code}:Judge", "files": [str(rows), "offline", 3, None], "n": {"a": True}}
    )
    assert set(found) == {f"{code}:Judge", str(rows)} and found[str(rows)] == file_sha256(rows)
