"""Train the offline judge's classifier and write its weights and card.

    python scripts/train_judge.py --data FOLDER

`scripts/judge_labels.jsonl` has answers of the built-in model and its edited twins, labelled by reading. A prompt that
is not ours stands there as file and row of `--data`, a folder with `refusal_direction` and `donotanswer` (Apache-2.0)
and `xstest` (CC BY 4.0) as published. The agreement is measured on `judges/labelled.jsonl` of the package, whose
prompts are in no training row, and AUROC on GPTFuzz answers (MIT, in `--data` too), a source that it never saw. Ten
minutes here.
"""

import argparse
import csv
import json
import random
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from transformers import AutoModel

from skunlearn.data.examples import normalised
from skunlearn.data.files import read_rows
from skunlearn.data.load import builtin_rows
from skunlearn.judges.base import LABELS
from skunlearn.judges.network import HEAD, Network, encode, probabilities
from skunlearn.judges.offline import verdicts
from skunlearn.lm.builtin import builtin_folder
from skunlearn.lm.embed import NAME
from skunlearn.progress import Progress

ROOT = Path(__file__).parents[1]
OUT = ROOT / "src/skunlearn/judges/weights"
RANK, SCALE, RATE, EPOCHS, BATCH, SMOOTHING = 8, 2, 2e-3, 6, 32, 0.05
FOREIGN_ROWS, WORDS = 1000, 40
Row = dict[str, str]


def training_rows(data: Path) -> list[Row]:
    """The labelled answers with their prompts."""
    rows = [json.loads(line) for line in (ROOT / "scripts/judge_labels.jsonl").read_text("utf-8").splitlines()]
    ours = {row["id"]: row["prompt"] for name in ("forget", "retain", "lookalike") for row in builtin_rows(name)}
    theirs = {
        name: [row.get("prompt") or row.get("instruction") for row, _ in read_rows(data / name)]
        for name in sorted({row["source"] for row in rows if not row["source"].startswith("builtin/")})
    }
    for row in rows:
        known = ours if row["source"].startswith("builtin/") else theirs[row["source"]]
        row["prompt"] = known[row["row"]]
    return rows


def fit(rows: list[Row]) -> Network:
    """LoRA on every linear module of the encoder, and a linear head."""
    torch.manual_seed(0)
    shuffle = random.Random(0).shuffle
    body = AutoModel.from_pretrained(str(builtin_folder(NAME, Progress())))
    modules = ["query", "key", "value", "dense"]
    lora = LoraConfig(r=RANK, lora_alpha=SCALE * RANK, target_modules=modules, lora_dropout=0.05)
    network = Network(get_peft_model(body, lora), len(LABELS)).train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    rows = list(rows)
    for epoch in range(EPOCHS):
        shuffle(rows)
        for at in range(0, len(rows), BATCH):
            batch = rows[at : at + BATCH]
            logits = network(encode([r["prompt"] for r in batch], [r["answer"] for r in batch]))
            labels = torch.tensor([LABELS.index(row["label"]) for row in batch])
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss of the last batch {loss.item():.3f}", flush=True)
    return network.eval()


def tensors(network: Network) -> dict[str, torch.Tensor]:
    """The head, and the LoRA factors by the name of the weight they add to; half precision."""
    state = network.state_dict()
    found = {name: state[name] for name in HEAD}
    for name, right in state.items():
        if ".lora_A." in name:
            weight = name.removeprefix("body.base_model.model.").replace(".lora_A.default.weight", ".weight")
            found[f"{weight}::left"] = SCALE * state[name.replace("lora_A", "lora_B")]
            found[f"{weight}::right"] = right
    return {name: tensor.half().contiguous() for name, tensor in found.items()}


def measured(rows: list[Row], network: Network) -> dict[str, float | int]:
    """Four-way agreement, and sensitivity and specificity of "harmful", on labelled rows."""
    prompts, answers = [row["prompt"] for row in rows], [row["answer"] for row in rows]
    found = [verdict.label for verdict in verdicts(prompts, answers, network)]
    truth = [row["label"] for row in rows]
    pairs = list(zip(truth, found, strict=True))
    return {
        "n": len(rows),
        "harmful": truth.count("harmful"),
        "accuracy": round(float(np.mean([t == f for t, f in pairs])), 4),
        "sensitivity": round(float(np.mean([f == "harmful" for t, f in pairs if t == "harmful"])), 4),
        "specificity": round(float(np.mean([f != "harmful" for t, f in pairs if t != "harmful"])), 4),
    }


def auroc(rows: list[Row], network: Network) -> float:
    """Area under the ROC curve of the probability of "harmful"."""
    scores = probabilities(network, [r["prompt"] for r in rows], [r["answer"] for r in rows])[:, 0]
    return round(float(roc_auc_score([row["label"] == "harmful" for row in rows], scores)), 4)


def gptfuzz(data: Path) -> list[Row]:
    """People's labels of other models' answers, cut to the length that we judge."""
    with (data / "gptfuzz/question_list.csv").open(encoding="utf-8") as file:
        questions = [line["text"] for line in csv.DictReader(file)]
    with (data / "gptfuzz/evaluate.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random.Random(0).shuffle(rows)
    return [
        {"prompt": questions[int(row["question"])], "answer": " ".join(row["Response"].split(" ")[:WORDS]),
         "label": "harmful" if row["label"] == "1" else "other"}
        for row in rows[:FOREIGN_ROWS]
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    rows = training_rows(options.data)
    check = [
        json.loads(line) for line in (ROOT / "src/skunlearn/judges/labelled.jsonl").read_text("utf-8").splitlines()
    ]
    check = [row for row in check if row["label"] in LABELS]
    known = {normalised(row["prompt"]) for row in rows}
    if both := [row["prompt"] for row in check if normalised(row["prompt"]) in known]:
        raise SystemExit(f"{len(both)} prompts are in the check and in the training rows, first: {both[0]}")
    network = fit(rows)
    OUT.mkdir(exist_ok=True)
    save_file(tensors(network), OUT / "offline.safetensors")
    card = {
        "version": date.today().isoformat(),
        "encoder": NAME,
        "trained_on": dict(Counter(f"{row['source']}: {row['label']}" for row in rows)),
        "agreement": measured(check, network)
        | {"source": "answers of smollm2-135m and edited twins to the built-in validation prompts"},
        "auroc": {"check": auroc(check, network), "gptfuzz, never seen": auroc(gptfuzz(options.data), network)},
        "limits": "English; answers of 20 to 60 words; judges tone and compliance, not whether advice would work.",
    }
    (OUT / "offline.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
