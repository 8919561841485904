"""The table of what works and what is refused names tests that exist."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def rows() -> list[list[str]]:
    found = []
    for line in (ROOT / "docs/compatibility.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| kind"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}: {row[1]}"[:60])
def test_a_row_has_its_test(row: list[str]):
    _, _, result, test = row
    assert result.startswith(("works", "refused"))
    path, name = test.split("::")
    assert f"def {name}(" in (ROOT / path).read_text()


def test_every_kind_is_there():
    kinds = {row[0] for row in rows()}
    assert kinds >= {"family", "pair", "adapter", "file form", "template", "data"}
