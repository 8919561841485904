"""A merged export is the run's own saved model, loads unchanged, and says what it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from skunlearn.export.base import ExportOptions
from skunlearn.export.base_files import as_safetensors
from skunlearn.models.loading import LoadOptions
from skunlearn.utils.errors import ConfigError, ModelError, RunError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.export import export
from skunlearn.workflows.run import run_job

Finished = Callable[..., Path]
SMALL = [
    "train.steps=2",
    "train.batch=1",
    "lora.rank=2",
    "edit.alpha=0.7",
    "refuse.weight=0",
    "data.max_length=200",
    "evaluate.forget=2",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=2",
]


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype="auto").named_parameters())


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_it_is_the_model_that_run_saves(family: str, finished: Finished, tmp_path: Path):
    run = finished(family)
    manifest = export(run, tmp_path / "out", ExportOptions(), Progress())
    ours, saved, base = (
        parameters(p) for p in (tmp_path / "out", run / "model", run.parent / f"toy-{family}")
    )
    assert all(torch.equal(ours[name], saved[name]) for name in saved)
    assert any(not torch.equal(ours[name], base[name]) for name in base)
    assert manifest["options"]["alpha"] == manifest["measured_alpha"] == 0.7
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template and tokenizer("a").input_ids
    assert (tmp_path / "out/generation_config.json").is_file()


def test_strength_zero_is_the_base_and_a_type_is_written_into_the_config(
    finished: Finished, tmp_path: Path
):
    run = finished("Llama")
    export(run, tmp_path / "out", ExportOptions(alpha=0, dtype="bfloat16"), Progress())
    ours, base = parameters(tmp_path / "out"), parameters(run.parent / "toy-Llama")
    assert all(torch.equal(ours[name], base[name].bfloat16()) for name in base)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"


def test_a_base_in_the_older_format_is_read_too(finished: Finished, tmp_path: Path):
    from safetensors.torch import load_file

    from skunlearn.export.base_files import as_safetensors
    from skunlearn.export.out_of_core import SINGLE
    from skunlearn.models.loading import LoadOptions

    base = finished("GPT2").parent / "toy-GPT2"
    old = tmp_path / "old"
    old.mkdir()
    torch.save(load_file(base / SINGLE), old / "pytorch_model.bin")
    (old / "config.json").write_bytes((base / "config.json").read_bytes())
    with as_safetensors(old, LoadOptions(), Progress()) as folder:
        assert folder != old and all(
            torch.equal(a, parameters(base)[n]) for n, a in parameters(folder).items()
        )
    assert not folder.exists()


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(finished: Finished, tmp_path: Path):
    run = finished("Llama")
    for options, message in (
        ({"alpha": -0.1}, "negative strength"),
        ({"alpha": float("nan")}, "negative strength"),
        ({"dtype": "int4"}, "--dtype int4"),
        ({"dtype": "q8_0"}, "q8_0 with --format gguf"),
        ({"format": "onnx"}, "--format onnx"),
        ({"rank": 0}, "--rank 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            ExportOptions(**options)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").touch()
    with pytest.raises(RunError, match="is not an export"):
        export(run, taken, ExportOptions(), Progress())
    with pytest.raises(RunError, match="no finished run here"):
        export(taken, tmp_path / "out", ExportOptions(), Progress())
    assert (taken / "thesis.txt").exists() and not (tmp_path / "out").exists()


def test_an_interruption_leaves_no_folder(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skunlearn.workflows.export.write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(finished("Llama"), tmp_path / "out", ExportOptions(), Progress())
    assert not list(tmp_path.iterdir())


def test_a_base_that_has_changed_since_the_run_is_refused(finished: Finished, tmp_path: Path):
    import shutil

    shutil.copytree(finished("Llama").parent, tmp_path / "copy")
    run = tmp_path / "copy/run"
    text = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(
        text.replace(str(finished("Llama").parent), str(tmp_path / "copy"))
    )
    export(run, tmp_path / "out", ExportOptions(), Progress())
    (tmp_path / "copy/toy-Llama/generation_config.json").unlink()
    with pytest.raises(ModelError, match="has changed since the run"):
        export(run, tmp_path / "out2", ExportOptions(), Progress())


def test_a_hub_base_is_fetched_and_the_older_format_only_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from skunlearn.export.base_files import OLDER, base_files
    from skunlearn.models.loading import LoadOptions

    asked = []

    def snapshot_download(
        repo: str, revision: str | None, token: object, allow_patterns: list[str]
    ) -> str:
        asked.append((repo, revision, token, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert base_files("org/model", LoadOptions(revision="v1"), Progress()) == tmp_path
    assert [call[:3] for call in asked] == [("org/model", "v1", False)] * 2 and asked[1][3] == list(
        OLDER
    )
    assert "*.py" not in asked[0][3] and "config.json" in asked[0][3]
    asked.clear()
    (tmp_path / "model.safetensors").touch()
    base_files("org/model", LoadOptions(gated=True, trust_remote_code=True), Progress())
    ((_, _, token, patterns),) = asked
    assert token is None and "*.py" in patterns


def test_a_filtered_edit_is_exported_as_it_was_evaluated(finished: Finished, tmp_path: Path):
    run = finished("Llama", "vectors=2", "edit.filters=[mean]")
    manifest = export(run, tmp_path / "out", ExportOptions(), Progress())
    assert [vector["file"] for vector in manifest["vectors"]] == [
        "tau_filtered.safetensors",
        "tau_refuse.safetensors",
    ]
    ours, saved = parameters(tmp_path / "out"), parameters(run / "model")
    assert all(torch.equal(ours[name], saved[name]) for name in saved)


def test_a_base_that_is_an_adapter_says_what_to_do(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with (
        pytest.raises(ModelError, match="is an adapter"),
        as_safetensors(tmp_path, LoadOptions(), Progress()),
    ):
        pass


def test_where_one_is_is_no_place_for_an_export(
    finished: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="give the export a folder of its own"):
        export(finished("Llama"), Path("."), ExportOptions(), Progress())


def test_nothing_that_is_somebodys_is_replaced(finished: Finished, tmp_path: Path):
    run, out = finished("Llama"), tmp_path / "out"
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/data.txt").touch()
    export(run, out, ExportOptions(), Progress())
    assert (tmp_path / "out.partial/data.txt").exists()
    (out / "notes.md").touch()
    with pytest.raises(RunError, match=r"notes\.md is no part of the export there"):
        export(run, out, ExportOptions(), Progress())
    (out / "notes.md").unlink()
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(RunError, match="is a link"):
        export(run, tmp_path / "link", ExportOptions(), Progress())
    again = tmp_path / "run"
    run_job(make_run(with_sets({"model": str(out)}, SMALL)), again)
    with pytest.raises(RunError, match="is the base of this run"):
        export(again, out, ExportOptions(), Progress())
    assert (out / "model.safetensors").exists()


def test_numbers_that_the_type_cannot_hold_are_refused(finished: Finished, tmp_path: Path):
    with pytest.raises(ModelError, match=r"does not fit torch\.float16: give a smaller --alpha"):
        export(
            finished("Llama"),
            tmp_path / "out",
            ExportOptions(alpha=1e12, dtype="float16"),
            Progress(),
        )
    assert not (tmp_path / "out").exists()
