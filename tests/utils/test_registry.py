"""Names to classes."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from skunlearn.methods import METHODS
from skunlearn.methods.sku import SKU
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean, place_in_own_code, resolve
from skunlearn.utils.settings import build_options


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


WRITTEN_FOR_0_1 = {
    "methods": """
from dataclasses import dataclass
from skunlearn.losses import answer_nll
from skunlearn.methods.base import Method, Scored, kl_terms, nll_terms

@dataclass(frozen=True)
class Mine(Method):
    edit_scale = 1.0
    roles = ("forget", "retain")
    referenced = ("retain",)
    layers = (0.5,)
    def loss(self, scored):
        return nll_terms(scored, forget=-1.0) | kl_terms(scored, retain=1.0)
""",
    "judges": """
from skunlearn.judges.base import Verdict
from skunlearn.judges.degenerate import degenerate_reason
class Mine:
    name, agreement = "mine", None
    def judge(self, prompts, answers):
        return [Verdict("safe", 1.0, "") for _ in answers]
""",
    "metrics": """
from skunlearn.metrics.base import Score, Subject, mean_score
def Mine(subject):
    return {"mine": mean_score([1.0], 1, "rate", False)}
""",
    "attacks": """
from skunlearn.attacks.base import Attack, Situation, Situations, Target, wrapped
Mine = wrapped
""",
    "filters": """
from skunlearn.filters.base import Filter, only
from skunlearn.task_vector import TaskVector
class Mine(Filter):
    def __call__(self, taus, context):
        return only(taus)
""",
}


@pytest.mark.parametrize("family", WRITTEN_FOR_0_1)
def test_files_of_ones_own_written_for_0_1_are_loaded(family: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(WRITTEN_FOR_0_1[family])
    made = resolve(f"{tmp_path}/mine.py:Mine", {}, family)
    if family == "methods":
        assert made().reference_roles == ("retain",) and made().hidden_layers == (0.5,)


def test_old_names_are_gone_outside_of_such_files(tmp_path: Path):
    (tmp_path / "mine.py").write_text(WRITTEN_FOR_0_1["judges"])
    resolve(f"{tmp_path}/mine.py:Mine", {}, "judge")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("skunlearn.judges.base")
    (tmp_path / "other.py").write_text("import skunlearn.lm.model")
    with pytest.raises(ConfigError, match="its modules have moved"):
        resolve(f"{tmp_path}/other.py:Mine", {}, "judge")


def test_annotations_that_are_texts_and_dataclasses_work(tmp_path: Path):
    text = """
from __future__ import annotations
from dataclasses import dataclass, field, KW_ONLY
from typing import ClassVar
from skunlearn.methods.sku import SKU

@dataclass(frozen=True)
class Mine(SKU):
    kind: ClassVar[str] = "x"
    _: KW_ONLY
    mine: float | None = None
    own: tuple[str, ...] = ()
"""
    for folder in ("a", "b"):  # two files of one name do not meet
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text.replace('"x"', f'"{folder}"'))
    classes = [resolve(f"{tmp_path / folder}/mine.py:Mine", {}, "method") for folder in ("a", "b")]
    assert [cls.kind for cls in classes] == ["a", "b"]
    assert build_options(classes[0], {"mine": 2, "own": ["a"]}, "method").mine == 2.0
    with pytest.raises(ConfigError, match="mine"):
        build_options(classes[1], {"mine": "x"}, "method")


def test_an_error_in_a_file_of_ones_own_is_named(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text("def mine(x):\n    return helper(x)\n\ndef helper(x):\n    return 1 / x\n")
    mine = resolve(f"{path}:mine", {}, "metric")
    with pytest.raises(ZeroDivisionError) as caught:
        mine(0)
    assert place_in_own_code(caught.value) == f"{path}:5"
    assert place_in_own_code(ValueError("not from there")) == ""


MAIN = """
import sys
from skunlearn.cli import main
from skunlearn.utils.registry import resolve
def raises(**_):
    resolve(sys.argv[1], {}, "metric")(0)
main.app = raises
main.main()
"""


def test_the_command_line_says_that_the_file_is_ones_own(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text("def mine(x):\n    return 1 / x\n")
    words = [sys.executable, "-c", MAIN, f"{path}:mine"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{path}:2: ZeroDivisionError" in done.stderr
