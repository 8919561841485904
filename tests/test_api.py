"""The README's Python, executed on the toy model."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_eight_lines_of_the_readme(
    pairs: tuple[Path, Path], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    lines = [line for line in block.splitlines() if not line.startswith(("import", "print"))]
    assert len(lines) == 8
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block, names)
    assert names["after"].scores["retain_kl"].value >= 0
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(tmp_path / "smollm2-unlearned").num_parameters() > 0
