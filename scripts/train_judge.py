"""Train the offline judge's classifier and write its weights and card.

    python scripts/train_judge.py --own LABELLED.jsonl ... --foreign FOLDER --check LABELLED.jsonl

`--own`: answers of the built-in model and its edited twins, one object a line with prompt, answer and label.
`--foreign`: a folder with `gptfuzz` (MIT) and `xstest` (CC BY 4.0) as published, for other models' answers.
`--check`: labelled answers to prompts that are in none of the others; only measured on, never trained on.
"""

import argparse
import csv
import json
import random
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from skunlearn.data.examples import normalised
from skunlearn.data.load import builtin_rows
from skunlearn.judges.base import LABELS
from skunlearn.judges.degenerate import degenerate_reason
from skunlearn.judges.features import features
from skunlearn.judges.offline import classify, verdicts
from skunlearn.judges.refusal import refusal_phrase

OUT = Path(__file__).parents[1] / "src/skunlearn/judges/weights"
Row = dict[str, str]
OWN_WEIGHT, STRENGTH, MOST_FOREIGN = 4.0, 3.0, 2000


def own_rows(paths: list[Path]) -> list[Row]:
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [{"prompt": r["prompt"], "answer": r["answer"], "label": r["label"]} for r in rows if r["label"] in LABELS]


def foreign_rows(folder: Path) -> list[Row]:
    """People's labels of other models' answers, cut to the length that we judge."""
    rows: list[Row] = []
    with (folder / "gptfuzz/question_list.csv").open(encoding="utf-8") as file:
        questions = [line["text"] for line in csv.DictReader(file)]
    with (folder / "gptfuzz/train.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            answer = row["Response"]
            other = "refused" if refusal_phrase(answer) else "safe"
            rows.append(
                {"prompt": questions[int(row["question"])], "answer": answer,
                 "label": "harmful" if row["label"] == "1" else other}
            )  # fmt: skip
    for path in sorted((folder / "xstest").glob("*completions*.csv")):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                complied = "harmful" if row["type"].startswith("contrast") else "safe"
                label = {"1_full_compliance": complied, "2_full_refusal": "refused"}.get(row["final_label"])
                if label:
                    rows.append({"prompt": row["prompt"], "answer": row["completion"], "label": label})
    random.Random(0).shuffle(rows)
    return [row | {"answer": " ".join(row["answer"].split(" ")[:60])} for row in rows[:MOST_FOREIGN]]


def builtin_safe_rows() -> list[Row]:
    """Good answers to ordinary training prompts: without them a judge learns 'complies' instead of 'harmful'."""
    return [
        {"prompt": row["prompt"], "answer": row["answer"], "label": "safe"}
        for name in ("retain", "lookalike")
        for row in builtin_rows(name)
        if row["part"] == "train"
    ]


def fit(rows: list[Row], weight: np.ndarray) -> dict[str, np.ndarray]:
    model = LogisticRegression(C=STRENGTH, max_iter=2000, class_weight="balanced")
    model.fit(features([r["prompt"] for r in rows], [r["answer"] for r in rows]), [r["label"] for r in rows], weight)
    order = [list(model.classes_).index(label) for label in LABELS]
    return {"weight_FL": model.coef_[order].T.astype(np.float32), "bias_L": model.intercept_[order].astype(np.float32)}


def measured(rows: list[Row], trained: dict[str, np.ndarray]) -> dict[str, float | int]:
    found = [v.label for v in verdicts([r["prompt"] for r in rows], [r["answer"] for r in rows], trained)]
    return compared([r["label"] for r in rows], found)


def compared(truth: list[str], found: list[str]) -> dict[str, float | int]:
    pairs = list(zip(truth, found, strict=True))
    harmful = [f == "harmful" for t, f in pairs if t == "harmful"]
    others = [f != "harmful" for t, f in pairs if t != "harmful"]
    return {
        "n": len(pairs),
        "accuracy": round(float(np.mean([t == f for t, f in pairs])), 4),
        "sensitivity": round(float(np.mean(harmful)), 4),
        "specificity": round(float(np.mean(others)), 4),
    }


def cross_validated(own: list[Row], rest: list[Row]) -> tuple[dict[str, float | int], float]:
    """Five folds over the prompts of our own answers; the others are always trained on.

    Returns:
        The measures, and what to add to the logit of "harmful" so that as many answers are called so as are.
    """
    truth: list[Row] = []
    logits: list[np.ndarray] = []
    groups = [normalised(row["prompt"]) for row in own]
    for train, test in GroupKFold(5).split(own, groups=groups):
        rows = [own[n] for n in train] + rest
        trained = fit(rows, np.r_[np.full(len(train), OWN_WEIGHT), np.ones(len(rest))])
        held = [own[n] for n in test]
        truth += held
        logits.append(np.log(classify([r["prompt"] for r in held], [r["answer"] for r in held], trained) + 1e-12))
    harmful = LABELS.index("harmful")
    stacked = np.concatenate(logits)
    others = np.delete(stacked, harmful, axis=1).max(axis=1)
    wanted = sum(row["label"] == "harmful" for row in truth)
    shift = float(np.sort(others - stacked[:, harmful])[wanted - 1])
    stacked[:, harmful] += shift + 1e-9
    found = [
        "degenerate" if degenerate_reason(row["prompt"], row["answer"]) else LABELS[int(best)]
        for row, best in zip(truth, stacked.argmax(axis=1), strict=True)
    ]
    labels = [row["label"] for row in truth]
    print(f"shift {shift:.3f}", Counter(zip(labels, found, strict=True)))
    return compared(labels, found), shift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", type=Path, nargs="+", required=True)
    parser.add_argument("--foreign", type=Path, required=True)
    parser.add_argument("--check", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    own, check = own_rows(options.own), own_rows(options.check)
    rest = foreign_rows(options.foreign) + builtin_safe_rows()
    known = {normalised(row["prompt"]) for row in own + rest}
    if both := [row["prompt"] for row in check if normalised(row["prompt"]) in known]:
        raise SystemExit(f"{len(both)} prompts are in --check and in the training data, first: {both[0]}")
    folds, shift = cross_validated(own, rest)
    print("cross-validated by prompt:", folds)
    trained = fit(own + rest, np.r_[np.full(len(own), OWN_WEIGHT), np.ones(len(rest))])
    trained["bias_L"][LABELS.index("harmful")] += shift
    half = {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in trained.items()}
    agreement = measured(check, {name: value.astype(np.float32) for name, value in half.items()})
    print("on --check:", agreement)
    OUT.mkdir(exist_ok=True)
    save_file(half, OUT / "offline.safetensors")
    card = {
        "version": date.today().isoformat(),
        "trained_on": {
            "answers of smollm2-135m and edited twins, labelled by reading": dict(Counter(r["label"] for r in own)),
            "GPTFuzz (MIT), XSTest completions (CC BY 4.0), built-in train answers": dict(
                Counter(r["label"] for r in rest)
            ),
        },
        "cross_validated_by_prompt": folds,
        "agreement": agreement
        | {"source": "answers of smollm2-135m and two edited twins to the built-in validation prompts"},
        "limits": "English; answers of 20 to 60 words; judges tone and compliance, not whether advice would work.",
    }
    (OUT / "offline.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
