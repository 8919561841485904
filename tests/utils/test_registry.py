"""Names to classes."""

from pathlib import Path

import pytest

from skunlearn.methods import METHODS
from skunlearn.methods.sku import SKU
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean, resolve


def test_every_name_in_the_tables_resolves():
    from skunlearn.evaluation.judges import JUDGES

    assert resolve("sku", METHODS, "method") is SKU
    for family, table in (("method", METHODS), ("judge", JUDGES)):
        for name in table:
            assert isinstance(resolve(name, table, family), type)


def test_module_and_file_paths(tmp_path: Path):
    assert resolve("skunlearn.methods.sku:SKU", METHODS, "method") is SKU
    path = tmp_path / "mine.py"
    path.write_text("class Mine: answer = 42\n")
    assert resolve(f"{path}:Mine", METHODS, "method").answer == 42


@pytest.mark.parametrize(
    "name", ["skuu", "no.such.module:X", "missing.py:X", "skunlearn.methods.sku:Nope"]
)
def test_unknown_names_are_one_clear_error(name: str):
    with pytest.raises(ConfigError, match="method"):
        resolve(name, METHODS, "method")


def test_did_you_mean():
    assert did_you_mean("stepss", ["steps", "batch"]) == "did you mean 'steps'?"
    assert did_you_mean("zzz", ["steps", "batch"]) == "known: batch, steps"


@pytest.mark.parametrize("text", ["def broken(:", "raise ValueError('no')", "1 / 0"])
def test_somebodys_file_that_breaks_is_one_line(text: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.py: cannot be loaded: \w+"):
        resolve(f"{tmp_path / 'mine.py'}:Mine", {}, "judge")
