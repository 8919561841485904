"""What fits: numbers worked out by hand, from a config alone."""

import json
import shlex
from pathlib import Path

import pytest
import toy
import typer
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.data.dataset import Data
from skunlearn.models.loading import LoadOptions, skeleton
from skunlearn.training.compute import ComputeOptions
from skunlearn.training.lora import LoraOptions
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.planning.device_fit import Device, bytes_of, fit_device
from skunlearn.workflows.planning.memory import DeviceLayout, estimate_memory
from skunlearn.workflows.planning.requirements import (
    StepSize,
    count_parameters,
    count_trainable,
    evaluate_seconds,
)

SHAPES = {  # hidden, inner, layers, heads, key-value heads: Llama 2
    "7b": (4096, 11008, 32, 32, 32),
    "13b": (5120, 13824, 40, 40, 40),
    "70b": (8192, 28672, 80, 64, 8),
}
GB = 1e9


def shape(folder: Path, name: str, dtype: str = "bfloat16") -> str:
    """A folder with a config.json and nothing else."""
    hidden, inner, layers, heads, kv = SHAPES[name]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
        "dtype": dtype,
    }
    folder = folder / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("name", "weights"), [("7b", 6_738_415_616), ("13b", 13_015_864_320), ("70b", 68_976_648_192)]
)
def test_parameters_are_counted_from_the_config(name: str, weights: int, tmp_path: Path):
    """2 V H + L (2 H^2 + 2 H K + 3 H I + 2 H) + H, K the width of keys: the published sizes of
    Llama 2."""
    hidden, inner, layers, heads, kv = SHAPES[name]
    keys = hidden // heads * kv
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner + 2 * hidden
    assert 2 * 32000 * hidden + layers * layer + hidden == weights
    model = skeleton(shape(tmp_path, name), LoadOptions())
    assert (
        count_parameters(model) == weights
        and model.device.type == "meta"
        and str(model.dtype) == "torch.bfloat16"
    )
    assert (
        count_parameters(skeleton(f"{shape(tmp_path, name)}/config.json", LoadOptions())) == weights
    )
    # LoRA of rank 16 on the upper two thirds: (in + out) of q, o; k, v; gate, up, down
    moving = layers - layers // 3
    run = Run(lora=LoraOptions())
    factors = 2 * 2 * hidden + 2 * (hidden + keys) + 3 * (hidden + inner)
    assert count_trainable(model, run, run.make_method()) == 16 * moving * factors


def test_seconds_of_the_evaluation_by_hand(tmp_path: Path):
    """Base and two strengths write 30 answers of 10 tokens each; base and edited 20 of 5 on test:
    1100 tokens at 0.3 of the peak. The likelihood of 3 x 5 and 2 x 4 ordinary rows of 50 tokens:
    1150 at 0.55. Two operations a weight."""
    edit = [
        "edit.alphas=[0.5,1]",
        "edit.forget=20",
        "edit.retain=5",
        "edit.lookalike=5",
        "edit.max_new_tokens=10",
    ]
    test = [
        f"evaluate.{key}"
        for key in ("forget=10", "seen=2", "retain=4", "lookalike=4", "max_new_tokens=5")
    ]
    model, run = (
        skeleton(shape(tmp_path, "7b"), LoadOptions()),
        make_run(with_sets({}, [*edit, *test])),
    )
    steps = [
        StepSize(rows=4, read=200, tokens=150, scored=9),
        StepSize(rows=4, read=100, tokens=90, scored=9),
    ]
    expected = 2 * 6_738_415_616 * (1100 / 0.3 + 1150 / 0.55) / 1e12
    assert evaluate_seconds(model, run, steps, 1e12) == pytest.approx(expected)


def test_tied_weights_count_once(tmp_path: Path):
    folder = toy.saved(tmp_path / "toy")
    assert count_parameters(skeleton(str(folder), LoadOptions())) == sum(
        p.numel() for p in toy.model().parameters()
    )


def test_memory_by_hand(tmp_path: Path):
    """7B in bfloat16, LoRA on 22 of 32 layers, a step of 1000 tokens of which 400 are scored."""
    model = skeleton(shape(tmp_path, "7b"), LoadOptions())
    run, steps = Run(), [StepSize(6, 1200, 1000, 400), StepSize(6, 1000, 900, 350)]
    gpu = estimate_memory(model, run, run.make_method(), steps, DeviceLayout(on_cpu=False))
    assert gpu.weights == 2 * 6_738_415_616
    assert (
        gpu.whole == gpu.weights + 4 * 11008**2 * 5
    )  # two gates: two moments each, and a product on its way
    trained = 16 * 22 * (4 * 4096 * 2 + 3 * (4096 + 11008))
    assert trained == 27_484_160 and gpu.state == 12 * trained and gpu.gradients == 4 * trained
    assert gpu.activations == pytest.approx(
        1.35 * 2 * 22 * (1000 * (8 * 4096 + 4 * 11008) + 1200 * 3 * 4096)
    )
    assert gpu.logits == 4 * 5 * 400 * 32000
    assert gpu.total == gpu.weights + gpu.state + gpu.activations + gpu.logits + 2**30
    again = estimate_memory(
        model, run, run.make_method(), steps, DeviceLayout(on_cpu=False, checkpointing=True)
    )
    assert again.activations == pytest.approx(1.35 * 2 * 1000 * (22 * 4096 + 8 * 4096 + 4 * 11008))
    parts = Run(compute=ComputeOptions(accumulate=4))
    quarter = estimate_memory(model, parts, run.make_method(), steps, DeviceLayout(on_cpu=False))
    alone = (
        1.35 * 2 * 22 * 300 * (8 * 4096 + 4 * 11008 + 3 * 4096)
    )  # a part of 1200 tokens, whose beginnings are its own
    assert quarter.activations == pytest.approx(alone) and quarter.logits == gpu.logits
    four_bits = Run(lora=LoraOptions(nf4=True))
    quantised, linear = (
        estimate_memory(model, four_bits, run.make_method(), steps, DeviceLayout(on_cpu=False)),
        32 * (4 * 4096**2 + 3 * 4096 * 11008),
    )
    assert quantised.weights == pytest.approx(2 * (6_738_415_616 - linear) + 0.516 * linear)
    assert (
        quantised.whole == 2 * 6_738_415_616 and quantised.state == gpu.state
    )  # the weights as they were come back
    full, head = (
        Run(lora=LoraOptions(mode="full", frozen=0.0)),
        4 * 32000 * 4096,
    )  # the base's head is kept
    alone, four = (
        estimate_memory(
            model, full, full.make_method(), steps, DeviceLayout(on_cpu=False, devices=devices)
        )
        for devices in (1, 4)
    )
    assert (
        alone.weights == 4 * 6_738_415_616 and alone.state == 8 * 6_738_415_616 + head
    )  # the weights as they were: CPU
    outside, layer = 2 * 32000 * 4096 + 4096, 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    assert (
        four.weights == 6_738_415_616 + 4 * (outside + layer)
        and four.state == 12 * 6_738_415_616 / 4 + head
    )
    assert (
        alone.total == alone.weights + alone.state + 4 * 6_738_415_616 + 2**30
    )  # gradients outweigh the step
    cpu = estimate_memory(model, full, full.make_method(), steps, DeviceLayout(on_cpu=True))
    assert (
        cpu.state == (12 + 4) * 6_738_415_616 + head
    )  # and the vector trained before the refusal vector


@pytest.mark.parametrize(
    ("name", "memory", "chosen"),
    [("7b", "30GB", 0), ("7b", "12GB", None), ("13b", "80GB", 0), ("70b", "80GB", None)],
)
def test_what_fits_and_the_command(name: str, memory: str, chosen: int | None, tmp_path: Path):
    folder = shape(tmp_path, name)
    run = make_run({"model": folder})
    found = fit_device(run, Data(), Device(bytes_of(memory), flops=1e14), ["--model", folder])
    assert found.chosen == chosen
    assert [(way.mode, way.dtype) for way in found.ways] == [
        ("lora", "bfloat16"),
        ("lora", "float32"),
        ("full", "bfloat16"),
    ]
    assert all(
        (way.memory_bytes <= bytes_of(memory)) == bool(way.devices) == bool(way.command)
        for way in found.ways
    )
    if chosen is None:
        assert f"nothing fits in {bytes_of(memory) / 1e9:g} GB" in str(found)
    else:
        assert (
            found.ways[chosen].command
            == f"skunlearn run --model {folder} --set load.dtype=bfloat16"
        )
        assert str(found).endswith(found.ways[chosen].command)


def test_four_bits_are_not_trained_in_full(tmp_path: Path):
    run = make_run({"model": shape(tmp_path, "7b"), "lora": {"nf4": True}})
    found = fit_device(
        run, Data(), Device(bytes_of("24GB"), flops=1e14), ["--set", "lora.nf4=true"]
    )
    assert [way.mode for way in found.ways] == ["lora", "lora"] and found.ways[0].command.endswith(
        "load.dtype=bfloat16"
    )


def test_what_is_given_up_for_less_memory(tmp_path: Path):
    """In order: nothing, a second computation of the layers, rows, and then one device."""
    folder = shape(tmp_path, "7b")

    def way(memory: float, most: int = 1, **options: object) -> object:
        found = fit_device(
            make_run({"model": folder, **options}), Data(), Device(memory * GB, most, 1e14)
        )
        return found.ways[2 if "lora" in options else 0]

    roomy, tight, tighter = way(30), way(17), way(15.3, refuse={"weight": 0})
    assert roomy.checkpointing is False and roomy.batch == 3
    assert (
        tight.checkpointing is True
        and tight.batch == 3
        and tight.train_seconds > roomy.train_seconds
    )
    assert (
        "--set compute.gradient_checkpointing=true" in tight.command
        and "train.batch" not in tight.command
    )
    assert tighter.batch == 1 and "--set train.batch=1" in tighter.command
    assert way(15.3).devices == 0  # gates are fitted beside the whole weights, whatever the rows
    full = {"lora": {"mode": "full", "frozen": 0.0}}
    alone, sharded = way(80, **full), way(80, 8, **full)
    assert alone.devices == 0 and alone.memory_bytes > 80 * GB > sharded.memory_bytes
    assert (
        sharded.devices == 2
        and "--processes 2" in sharded.command
        and "compute.shard=fsdp" in sharded.command
    )
    for command in (roomy.command, tight.command, tighter.command, sharded.command):
        given = (
            typer.main.get_command(app)
            .commands["run"]
            .make_context("run", shlex.split(command)[2:])
            .params
        )
        make_run(with_sets({}, given["sets"]))  # every option exists


def test_the_command_line(tmp_path: Path):
    folder = shape(tmp_path, "7b")
    words = ["plan", "--model", folder, "--device-memory", "24GB", "--set", "train.steps=4"]
    found = json.loads(CliRunner().invoke(app, [*words, "--device-tflops", "100", "--json"]).stdout)
    assert found["weights"] == 6_738_415_616 and found["flops"] == 1e14 and not found["measured"]
    assert found["ways"][0]["command"].startswith(
        f"skunlearn run --model {folder} --set train.steps=4 --set load."
    )
    shown = CliRunner().invoke(app, words).output
    assert "6,738,415,616 parameters" in shown and "measured here" in shown
    words = ["plan", "--model", folder, "--device-memory", "24"]
    wrong = CliRunner().invoke(app, words)
    assert wrong.exit_code != 0 and "write a size like 24GB" in str(wrong.exception)


@pytest.mark.parametrize(
    ("text", "size"), [("24GB", 24e9), ("1.5 gib", 1.5 * 2**30), ("512MB", 512e6)]
)
def test_sizes(text: str, size: float):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["24", "GB", "0GB", "-1GB", "24TBs"])
def test_wrong_sizes(text: str):
    with pytest.raises(ConfigError, match="write a size like 24GB"):
        bytes_of(text)


def test_a_folder_without_a_config(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        skeleton(str(tmp_path), LoadOptions())
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        skeleton(str(tmp_path), LoadOptions())


def test_rows_are_sized_by_their_letters(pairs: tuple[Path, Path], tmp_path: Path):
    """24 for the template, 5 for the prompt, 5 to 12 for the answer with its end."""
    run = make_run(
        with_sets({"model": shape(tmp_path, "7b")}, ["data.max_length=60", "refuse.weight=0"])
    )
    found = fit_device(run, Data(*pairs, run.data), Device(24e9, flops=1e14))
    assert 24 + 5 + 5 <= found.row_tokens <= 24 + 5 + 12
