"""Size and density are budgets: when one hurts, split by meaning, name a step, or delete."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/skunlearn"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FILE_STATEMENTS, FUNCTION_STATEMENTS = 160, 40
PER_HUNDRED_LINES = 3
PARAMETERS = (
    7  # without self; the commands of cli/ are left out: typer makes an option of each parameter
)


def statements(node: ast.AST) -> int:
    return sum(isinstance(inner, ast.stmt) for inner in ast.walk(node))


def comprehensions(node: ast.AST) -> list[ast.AST]:
    return [inner for inner in ast.walk(node) if isinstance(inner, COMPREHENSIONS)]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_functions_are_short(path: Path):
    tree = ast.parse(path.read_text())
    assert statements(tree) <= FILE_STATEMENTS
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            assert statements(node) <= FUNCTION_STATEMENTS, node.name
            assert path.parent.name == "cli" or parameters(node) <= PARAMETERS, node.name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_one_thought_a_statement(path: Path):
    text = path.read_text()
    found = comprehensions(ast.parse(text))
    # a short file may have one
    allowed = max(1, PER_HUNDRED_LINES * text.count("\n") / 100)
    assert len(found) <= allowed, f"{len(found)} comprehensions, {allowed:.1f} allowed"
    for one in found:
        assert len(one.generators) == 1, f"line {one.lineno}: two loops in one comprehension"
        assert len(comprehensions(one)) == 1, f"line {one.lineno}: one comprehension inside another"
    assert "fmt: skip" not in text and "fmt: off" not in text


def test_few_public_names():
    import skunlearn

    assert len(skunlearn.__all__) <= 25
    assert all(getattr(skunlearn, name).__doc__ for name in skunlearn.__all__)


def test_few_entries_at_the_root():
    entries = [entry for entry in SOURCE.iterdir() if entry.suffix in ("", ".py")]
    chapters = [entry for entry in entries if entry.is_dir() and entry.name != "__pycache__"]
    assert len(chapters) <= 14
    assert {entry.name for entry in entries if entry.is_file()} == {"__init__.py", "__main__.py"}


def test_inheritance_is_one_level_deep():
    parents: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                parents[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    for name, bases in parents.items():
        if name.endswith("Error"):
            continue
        grandparents = [grand for base in bases for grand in parents.get(base, [])]
        assert not [grand for grand in grandparents if grand in parents], name


def imported(path: Path) -> set[str]:
    """The packages that a file imports, by their first names."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_command_line_knows_typer_and_rich_and_only_settings_know_yaml(path: Path):
    where, packages = path.relative_to(SOURCE), imported(path)
    assert where.parts[0] == "cli" or not packages & {"typer", "rich"}
    assert where.name == "settings.py" or "yaml" not in packages
    assert where.parts[0] != "report" or "torch" not in packages
    assert "unittest" not in packages


def test_a_method_imports_torch_alone():
    """`import skunlearn.methods.sku` costs neither transformers nor peft."""
    import subprocess
    import sys

    code = (
        "import sys, skunlearn.methods.sku\n"
        "assert not {'transformers', 'peft'} & set(sys.modules), 'a method imports a model library'"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
