"""Judges themselves: how well one agrees with labels, and verdicts for a file of answers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path

from skunlearn.data.readers import Row, read_rows
from skunlearn.evaluation.judges.base import LABELS, Agreement, Judge, Verdict, tell_cost
from skunlearn.evaluation.metrics.agreement import auroc, confusion, kappa, per_label, thresholds
from skunlearn.utils.errors import DataError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean

ROWS_AT_ONCE = 64
COLUMNS = {
    "prompt": ("prompt", "question", "instruction", "goal", "query"),
    "answer": ("answer", "response", "completion", "output", "generation"),
    "label": ("label", "is_harmful", "harmful", "verdict"),
}
ADDED = ("verdict", "confidence", "evidence", "harmful_probability")  # by `judge label`
BINARY = {"0": "other", "1": "harmful", "false": "other", "true": "harmful"}


@dataclass(frozen=True)
class LabelledAnswer:
    """A labelled answer.

    Attributes:
        prompt: what was asked.
        answer: what came.
        label: one of the four, or any other word, which is none of them.
        source: where it is from, or empty.
    """

    prompt: str
    answer: str
    label: str
    source: str = ""


def read_labelled(path: Path | None) -> list[LabelledAnswer]:
    """Labelled answers from a CSV, JSONL, JSON or Parquet file; the shipped ones for None.

    Labels 0 and 1 stand for not harmful and harmful. The columns may have other usual names.

    Raises:
        DataError: when a column is missing, or a row has no prompt or label. An empty answer is
            one.
    """
    if path is None:
        with as_file(files("skunlearn.evaluation.judges").joinpath("labelled.jsonl")) as shipped:
            return [
                LabelledAnswer(r["prompt"], r["answer"], r["label"], f"{r['kind']} {r['model']}")
                for r, _ in read_rows(shipped)
            ]
    rows = read_rows(path)
    names = _columns(path, rows, COLUMNS)
    found = [_labelled(row, where, names) for row, where in rows]
    if not any(row.label in (*LABELS, *BINARY.values()) for row in found):
        raise DataError(
            f"{path}: no label in column '{names['label']}' is one of {', '.join(LABELS)} or 0/1: "
            f"found '{found[0].label}', for example"
        )
    return found


def _columns(path: Path, rows: Sequence[tuple[Row, str]], parts: Iterable[str]) -> dict[str, str]:
    """What each part is called in this file; `source` too, where there is one."""
    names = {name.lower(): name for row, _ in rows for name in row}
    found = {"source": names.get("source", "source")}
    for part in parts:
        known = next((names[name] for name in COLUMNS[part] if name in names), None)
        if known is None:
            given = list(names.values())
            raise DataError(
                f"{path}: no column '{part}' (columns: {', '.join(given)}): {did_you_mean(part, given)}"
            )
        found[part] = known
    return found


def _labelled(row: Row, where: str, names: dict[str, str]) -> LabelledAnswer:
    texts = {part: _text(row, name, where) for part, name in names.items()}
    for part in ("prompt", "label"):
        if not texts[part].strip():
            raise DataError(f"{where}: no {part}: fill it in or delete the row")
    label = texts["label"].strip().lower()
    return LabelledAnswer(
        texts["prompt"].strip(),
        texts["answer"],
        BINARY.get(label.removesuffix(".0"), label),
        texts["source"],
    )


def _text(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    if isinstance(value, list | dict):
        raise DataError(f"{where}: '{name}' holds a {type(value).__name__}: give a text")
    return "" if value is None else str(value)


def judge_all(judge: Judge, rows: Sequence[LabelledAnswer], progress: Progress) -> list[Verdict]:
    """A verdict for each row, in order."""
    chunks = [rows[at : at + ROWS_AT_ONCE] for at in range(0, len(rows), ROWS_AT_ONCE)]
    found: list[Verdict] = []
    for chunk in progress.over(f"{judge.name}: {len(rows)} answers", chunks):
        found += judge.judge([row.prompt for row in chunk], [row.answer for row in chunk])
    tell_cost(judge, progress)
    return found


def check_judge(
    judge: Judge, rows: Sequence[LabelledAnswer], progress: Progress | None = None
) -> JsonDict:
    """How well a judge agrees with labels, as one JSON-able object.

    Returns:
        `judge`, what `agreement` gives of all rows, the same in the form that corrects rates
        (`agreement`: see `evaluate.judge_check`; none unless some scored answers are harmful and
        some are not), `per_source` (the same of each source, when the rows name any), and
        `thresholds`: sensitivity and specificity of the probability of "harmful".
    """
    verdicts = judge_all(judge, rows, progress or Progress())
    result: JsonDict = {"judge": judge.name, **agreement_report(rows, verdicts)}
    result["agreement"] = measured_agreement(rows, verdicts)
    sources = sorted({row.source for row in rows if row.source})
    if sources:
        result["per_source"] = {
            source: agreement_report(
                *zip(
                    *[(r, v) for r, v in zip(rows, verdicts, strict=True) if r.source == source],
                    strict=True,
                )
            )
            for source in sources
        }
    scored = [
        (row.label == "harmful", v.harm) for row, v in zip(rows, verdicts, strict=True) if v.label
    ]
    result["thresholds"] = thresholds(
        [truth for truth, _ in scored], [score for _, score in scored]
    )
    return result


def measured_agreement(
    rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]
) -> JsonDict | None:
    """An `Agreement` with these labels, of the scored answers; None unless some are harmful and
    some are not.

    With labels 0/1 the accuracy is that of harmful or not.
    """
    scored = [
        (row.label, verdict.label)
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.label
    ]
    harmful = [found == "harmful" for label, found in scored if label == "harmful"]
    others = [found != "harmful" for label, found in scored if label != "harmful"]
    if not harmful or not others:
        return None
    fourway = all(label in LABELS for label, _ in scored)
    right = [label == found for label, found in scored] if fourway else harmful + others
    return asdict(
        Agreement(
            n=len(scored),
            harmful=len(harmful),
            accuracy=sum(right) / len(right),
            sensitivity=sum(harmful) / len(harmful),
            specificity=sum(others) / len(others),
            source=f"{len(rows)} labelled answers",
        )
    )


def agreement_report(rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]) -> JsonDict:
    """Labels against verdicts.

    Returns:
        `n`, `unscored`, `auroc` of "harmful" (scored answers only), `accuracy` and `kappa` of the
        four labels (answers that have one; an unscored one is a miss), `confusion`, and each
        label's own numbers (`per_label`).
    """
    truth, found = [row.label for row in rows], [verdict.label for verdict in verdicts]
    scored = [(t == "harmful", v.harm) for t, v in zip(truth, verdicts, strict=True) if v.label]
    four = [(t, f) for t, f in zip(truth, found, strict=True) if t in LABELS]
    fourway = {t for t, _ in four} != {
        "harmful"
    }  # with labels 0/1 "other" says nothing of the three
    return {
        "n": len(rows),
        "unscored": sum(label is None for label in found),
        "auroc": auroc([t for t, _ in scored], [s for _, s in scored]),
        "accuracy": sum(t == f for t, f in four) / len(four) if four and fourway else None,
        "kappa": kappa([t for t, _ in four], [f for _, f in four]) if fourway else None,
        "confusion": confusion(truth, found),
        **per_label(truth, found),
    }


def label_rows(judge: Judge, path: Path, progress: Progress | None = None) -> Iterable[Row]:
    """The rows of a file of answers with `verdict`, `confidence`, `evidence` and
    `harmful_probability` added.

    Raises:
        DataError: when there is no prompt or answer column, or one of those is there already.
    """
    rows = read_rows(path)
    names = _columns(path, rows, ("prompt", "answer"))
    if taken := next((name for name in ADDED if any(name in row for row, _ in rows)), None):
        raise DataError(
            f"{path}: the column '{taken}' is there already: rename it, or label the file it was made from"
        )
    asked = [
        LabelledAnswer(_text(row, names["prompt"], at), _text(row, names["answer"], at), "")
        for row, at in rows
    ]
    for (row, _), verdict in zip(
        rows, judge_all(judge, asked, progress or Progress()), strict=True
    ):
        values = (verdict.label, verdict.confidence, verdict.evidence, verdict.harmful)
        yield {**row, **dict(zip(ADDED, values, strict=True))}
