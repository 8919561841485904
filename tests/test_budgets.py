"""Size is a budget: when one hurts, split or delete."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/skunlearn"
FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_are_short(path: Path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 70, node.name


def test_few_public_names():
    import skunlearn

    assert len(skunlearn.__all__) <= 25
    assert all(getattr(skunlearn, name).__doc__ for name in skunlearn.__all__)


def test_inheritance_is_one_level_deep():
    parents = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    errors = {name for name in parents if name.endswith("Error")}
    deep = {n for n, bases in parents.items() for b in bases if parents.get(b) and n not in errors}
    assert not {n for n in deep if any(g in parents for b in parents[n] for g in parents.get(b, []))}


def test_only_the_command_line_knows_typer_and_rich_and_only_settings_know_yaml():
    for path in FILES:
        imports = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        where = path.relative_to(SOURCE)
        assert where.parts[0] == "cli" or not imports & {"typer", "rich"}, where
        assert where.name == "settings.py" or "yaml" not in imports, where
        assert where.parts[0] != "report" or "torch" not in imports, where
