"""verify finds what was changed, and says what it could not check."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from skunlearn.export.base import ExportOptions
from skunlearn.export.manifest import NAME, write_manifest
from skunlearn.utils.errors import RunError
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export
from skunlearn.workflows.verify import verify

Finished = Callable[..., Path]
FILES, BASE, VECTORS, WEIGHTS, DATA = range(5)


def exported(run: Path, out: Path, **options: object) -> Path:
    export(run, out, ExportOptions(**options), Progress())
    return out


def check(folder: Path, run: Path | None = None, base: Path | None = None) -> list[tuple[str, str]]:
    return [
        (found.outcome, found.detail)
        for found in verify(folder, base and str(base), run, Progress())
    ]


def rehash(folder: Path) -> None:
    """As somebody would who changes the weights and then the manifest."""
    facts = json.loads((folder / NAME).read_text())
    (folder / NAME).unlink()
    write_manifest(
        folder,
        {name: fact for name, fact in facts.items() if name not in ("format", "files")},
        Progress(),
    )


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Llama", {"format": "merged", "dtype": "bfloat16"}),
        ("GPT2", {"format": "merged"}),
        ("GPT2", {"format": "adapter"}),
        ("Llama", {"format": "gguf", "dtype": "q8_0"}),
    ],
)
def test_an_export_as_it_was_made(family: str, options: dict, finished: Finished, tmp_path: Path):
    run = finished(family)
    found = check(exported(run, tmp_path / "out", **options), run, run.parent / f"toy-{family}")
    assert [outcome for outcome, _ in found] == ["ok"] * 5
    assert options["format"] == "adapter" or found[WEIGHTS][1] == "bit for bit"


def test_what_cannot_be_checked_is_said(finished: Finished, tmp_path: Path):
    run = finished("Llama")
    out = exported(run, tmp_path / "out")
    without_both = check(out)
    assert [outcome for outcome, _ in without_both] == ["ok"] + ["not checked"] * 4
    assert "give --base" in without_both[BASE][1] and "give --run" in without_both[VECTORS][1]
    other_base = check(out, run, finished("GPT2").parent / "toy-GPT2")
    assert [outcome for outcome, _ in other_base] == ["ok", "differs", "ok", "not checked", "ok"]
    assert [outcome for outcome, _ in check(out, run)] == ["ok"] * 5, (
        "the run knows where its base is"
    )
    other_run = check(out, tmp_path, run.parent / "toy-Llama")
    assert other_run[VECTORS] == (
        "differs",
        "tau.safetensors is missing; tau_refuse.safetensors is missing",
    )
    with pytest.raises(RunError, match=r"no skunlearn\.json"):
        check(tmp_path)


def test_data_that_changed_or_is_gone(finished: Finished, tmp_path: Path):
    rows = [{"prompt": f"how {n}", "answer": f"so {n}"} for n in range(40)]
    forget = tmp_path / "forget.jsonl"
    forget.write_text("\n".join(map(json.dumps, rows)))
    run = finished("Llama", f"forget={forget}")
    out = exported(run, tmp_path / "out")
    manifest = json.loads((out / NAME).read_text())
    assert (
        len(manifest["data_sha256"]) == 64
        and manifest["data_sha256"] in (out / "README.md").read_text()
    )
    assert check(out, run)[DATA] == ("ok", f"SHA-256 {manifest['data']}...")
    forget.write_text(
        "\n".join(map(json.dumps, [*rows[1:], {"prompt": "how 0", "answer": "not so"}]))
    )
    assert check(out, run)[DATA][0] == "differs"
    again = exported(run, tmp_path / "again")
    assert json.loads((again / NAME).read_text())["data_sha256"] is None
    assert (
        check(again, run)[DATA][0] == "not checked"
        and "was missing or had changed" in (again / "README.md").read_text()
    )
    forget.unlink()
    outcome, detail = check(out, run)[DATA]
    assert outcome == "not checked" and "no such file" in detail and str(forget) in detail


def test_changed_files(finished: Finished, tmp_path: Path):
    out = exported(finished("Llama"), tmp_path / "out")
    (out / "config.json").write_text("{}")
    (out / "tokenizer.json").unlink()
    (out / "more.txt").touch()
    assert check(out)[FILES] == ("differs", "config.json has changed; tokenizer.json is missing")


@pytest.mark.parametrize("format", ["merged", "adapter", "gguf"])
def test_other_weights_under_a_true_looking_manifest(
    format: str, finished: Finished, tmp_path: Path
):
    run = finished("Llama")
    out = exported(run, tmp_path / "out", format=format, dtype="float32")
    (weights,) = [*out.glob("*.safetensors"), *out.glob("*.gguf")]
    if format == "gguf":
        GGUFReader(weights, "r+").tensors[0].data[0, 0] += 0.01
    else:
        tensors = load_file(weights)
        name = next(name for name in sorted(tensors) if "q_proj" in name)
        tensors[name][0, 0] += 0.01
        save_file(tensors, weights, metadata={"format": "pt"})
    rehash(out)
    outcomes = check(out, run, run.parent / "toy-Llama")
    assert [outcome for outcome, _ in outcomes] == ["ok", "ok", "ok", "differs", "ok"]


def test_the_rounding_of_another_machine_is_no_difference(finished: Finished, tmp_path: Path):
    run = finished("Llama")
    out = exported(run, tmp_path / "out")
    tensors, base = (
        load_file(out / "model.safetensors"),
        load_file(run.parent / "toy-Llama/model.safetensors"),
    )
    moved = next(name for name in sorted(tensors) if not torch.equal(tensors[name], base[name]))
    tensors[moved][0, 0] = torch.nextafter(tensors[moved][0, 0], torch.tensor(9.0))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    rehash(out)
    assert check(out, run, run.parent / "toy-Llama")[WEIGHTS] == ("ok", "up to rounding")
    save_file({name: t for name, t in tensors.items() if name != moved}, out / "model.safetensors")
    rehash(out)
    odd = f"'{moved}' is in one only (1 such tensors)"
    assert check(out, run, run.parent / "toy-Llama")[WEIGHTS] == ("differs", odd)
