"""Judges themselves: how well one agrees with labels, and its verdicts on a file of answers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path

from skunlearn.data.columns import column_names, find_column
from skunlearn.data.readers import Row, read_rows
from skunlearn.evaluation.judges.base import LABELS, Agreement, Judge, Verdict, tell_cost
from skunlearn.evaluation.metrics.agreement import auroc, confusion, kappa, per_label, thresholds
from skunlearn.utils.batching import batched
from skunlearn.utils.errors import DataError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.progress import Progress
from skunlearn.utils.registry import did_you_mean

ROWS_AT_ONCE = 64
# The usual names of each column, in the order in which they are tried.
COLUMNS = {
    "prompt": ("prompt", "question", "instruction", "goal", "query"),
    "answer": ("answer", "response", "completion", "output", "generation"),
    "label": ("label", "is_harmful", "harmful", "verdict"),
}
# The columns that `skunlearn judge label` adds.
ADDED = ("verdict", "confidence", "evidence", "harmful_probability")
# Labels that only tell harmful answers from others.
BINARY = {"0": "other", "1": "harmful", "false": "other", "true": "harmful"}


@dataclass(frozen=True)
class LabelledAnswer:
    """A labelled answer.

    Attributes:
        prompt: the prompt.
        answer: the answer to it; may be empty.
        label: one of the four labels, or any other word, which counts as none of them.
        source: where the answer is from, or empty.
    """

    prompt: str
    answer: str
    label: str
    source: str = ""


def read_labelled(path: Path | None) -> list[LabelledAnswer]:
    """Labelled answers from a CSV, JSONL, JSON or Parquet file; the shipped ones for None.

    Labels 0 and 1 stand for not harmful and harmful. The columns may have any of the usual names.

    Raises:
        DataError: when a column is missing, no label is known, or a row has no prompt or label. A
            row may have an empty answer.
    """
    if path is None:
        return _shipped_answers()
    rows = read_rows(path)
    columns = _find_columns(path, rows, COLUMNS)
    answers = [_labelled_answer(row, where, columns) for row, where in rows]
    known_labels = (*LABELS, *BINARY.values())
    if not any(answer.label in known_labels for answer in answers):
        raise DataError(
            f"{path}: no label in column '{columns['label']}' is one of {', '.join(LABELS)} or "
            f"0/1: found '{answers[0].label}', for example"
        )
    return answers


def _shipped_answers() -> list[LabelledAnswer]:
    """The labelled answers that come with the package."""
    answers = []
    with as_file(files("skunlearn.evaluation.judges").joinpath("labelled.jsonl")) as path:
        for row, _ in read_rows(path):
            source = f"{row['kind']} {row['model']}"
            answers.append(LabelledAnswer(row["prompt"], row["answer"], row["label"], source))
    return answers


def _find_columns(
    path: Path, rows: Sequence[tuple[Row, str]], fields: Iterable[str]
) -> dict[str, str]:
    """The name in this file of the column of each field, and of `source`, which may be missing.

    Raises:
        DataError: when a field has no column.
    """
    names = column_names(rows)
    columns = {"source": find_column(names, ["source"]) or "source"}
    for field in fields:
        column = find_column(names, COLUMNS[field])
        if column is None:
            raise DataError(
                f"{path}: no column '{field}' (columns: {', '.join(names)}): "
                f"{did_you_mean(field, names)}"
            )
        columns[field] = column
    return columns


def _labelled_answer(row: Row, where: str, columns: dict[str, str]) -> LabelledAnswer:
    """A row as a labelled answer.

    Raises:
        DataError: when it has no prompt or no label.
    """
    texts = {field: _text(row, column, where) for field, column in columns.items()}
    for field in ("prompt", "label"):
        if not texts[field].strip():
            raise DataError(f"{where}: no {field}: fill it in or delete the row")
    label = texts["label"].strip().lower()
    label = BINARY.get(label.removesuffix(".0"), label)  # some programs write 0 as 0.0
    return LabelledAnswer(texts["prompt"].strip(), texts["answer"], label, texts["source"])


def _text(row: Row, column: str, where: str) -> str:
    """A cell as text; empty when the row lacks it.

    Raises:
        DataError: when it holds a list or an object.
    """
    value = row.get(column)
    if isinstance(value, list | dict):
        raise DataError(f"{where}: '{column}' holds a {type(value).__name__}: give a text")
    return "" if value is None else str(value)


def judge_all(judge: Judge, rows: Sequence[LabelledAnswer], progress: Progress) -> list[Verdict]:
    """The judge's verdict on each row, in order."""
    verdicts: list[Verdict] = []
    batches = batched(rows, ROWS_AT_ONCE)
    for batch in progress.over(f"{judge.name}: {len(rows)} answers", batches):
        prompts = [row.prompt for row in batch]
        answers = [row.answer for row in batch]
        verdicts += judge.judge(prompts, answers)
    tell_cost(judge, progress)
    return verdicts


def check_judge(
    judge: Judge, rows: Sequence[LabelledAnswer], progress: Progress | None = None
) -> JsonDict:
    """Measure how well a judge agrees with labels.

    Args:
        judge: the judge.
        rows: labelled answers, one or more.
        progress: reports the work.

    Returns:
        JSON-able: `judge`, its name; what `agreement_report` returns for all rows; `agreement`,
        what `measured_agreement` returns, with which `evaluate.judge_check` corrects rates;
        `per_source`, the report for each source, when the rows name any; and `thresholds`,
        sensitivity and specificity of the probability of "harmful".
    """
    verdicts = judge_all(judge, rows, progress or Progress())
    result: JsonDict = {"judge": judge.name, **agreement_report(rows, verdicts)}
    result["agreement"] = measured_agreement(rows, verdicts)
    per_source = _per_source(rows, verdicts)
    if per_source:
        result["per_source"] = per_source
    harmful, harm = _scored_harm(rows, verdicts)
    result["thresholds"] = thresholds(harmful, harm)
    return result


def _per_source(rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]) -> JsonDict:
    """The report for each named source, in the order of their names."""
    groups: dict[str, tuple[list[LabelledAnswer], list[Verdict]]] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        if row.source:
            its_rows, its_verdicts = groups.setdefault(row.source, ([], []))
            its_rows.append(row)
            its_verdicts.append(verdict)
    return {source: agreement_report(*groups[source]) for source in sorted(groups)}


def _scored_harm(
    rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]
) -> tuple[list[bool], list[float]]:
    """Of the answers with a verdict: whether they are labelled harmful, and how harmful the judge
    finds them, 0..1."""
    harmful = []
    harm = []
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.label:
            harmful.append(row.label == "harmful")
            harm.append(verdict.harm)
    return harmful, harm


def measured_agreement(
    rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]
) -> JsonDict | None:
    """The judge's agreement with these labels as `Agreement` has it, on the answers with a verdict.

    When all labels are among the four, accuracy is about the four; otherwise, as with labels 0/1,
    it is about harmful or not.

    Returns:
        None unless some of the answers are labelled harmful and some are not.
    """
    right_of_four = []
    right_of_harmful = []
    right_of_others = []
    fourway = True
    for row, verdict in zip(rows, verdicts, strict=True):
        if not verdict.label:
            continue
        fourway = fourway and row.label in LABELS
        right_of_four.append(row.label == verdict.label)
        if row.label == "harmful":
            right_of_harmful.append(verdict.label == "harmful")
        else:
            right_of_others.append(verdict.label != "harmful")
    if not right_of_harmful or not right_of_others:
        return None
    right = right_of_four if fourway else right_of_harmful + right_of_others
    agreement = Agreement(
        n=len(right),
        harmful=len(right_of_harmful),
        accuracy=sum(right) / len(right),
        sensitivity=sum(right_of_harmful) / len(right_of_harmful),
        specificity=sum(right_of_others) / len(right_of_others),
        source=f"{len(rows)} labelled answers",
    )
    return asdict(agreement)


def agreement_report(rows: Sequence[LabelledAnswer], verdicts: Sequence[Verdict]) -> JsonDict:
    """Compare labels with verdicts.

    Returns:
        `n` answers, `unscored` ones among them, `auroc` of "harmful" on the answers with a verdict,
        `accuracy` and `kappa` of the four labels, `confusion`, and the numbers of each label
        (`metrics.agreement.per_label`). Accuracy and kappa are on the answers that have one of the
        four labels, where a missing verdict is an error; they are None when "harmful" is the only
        one, as with labels 0/1, whose 0 does not distinguish the other three.
    """
    labels = [row.label for row in rows]
    found = [verdict.label for verdict in verdicts]
    harmful, harm = _scored_harm(rows, verdicts)

    true_of_four = []
    found_of_four = []
    right = 0
    for label, found_label in zip(labels, found, strict=True):
        if label in LABELS:
            true_of_four.append(label)
            found_of_four.append(found_label)
            right += label == found_label
    fourway = set(true_of_four) != {"harmful"}
    accuracy = right / len(true_of_four) if true_of_four and fourway else None
    return {
        "n": len(rows),
        "unscored": found.count(None),
        "auroc": auroc(harmful, harm),
        "accuracy": accuracy,
        "kappa": kappa(true_of_four, found_of_four) if fourway else None,
        "confusion": confusion(labels, found),
        **per_label(labels, found),
    }


def label_rows(judge: Judge, path: Path, progress: Progress | None = None) -> Iterable[Row]:
    """Judge the answers of a file.

    Args:
        judge: the judge.
        path: a file of answers.
        progress: reports the work.

    Yields:
        The rows of the file with `verdict`, `confidence`, `evidence` and `harmful_probability`.

    Raises:
        DataError: when there is no prompt or answer column, or one of the new columns is there
            already.
    """
    rows = read_rows(path)
    columns = _find_columns(path, rows, ("prompt", "answer"))
    names = column_names(rows)
    for added in ADDED:
        if added in names:
            raise DataError(
                f"{path}: the column '{added}' is there already: rename it, or label the file it "
                "was made from"
            )
    answers = []
    for row, where in rows:
        prompt = _text(row, columns["prompt"], where)
        answer = _text(row, columns["answer"], where)
        answers.append(LabelledAnswer(prompt, answer, ""))
    verdicts = judge_all(judge, answers, progress or Progress())
    for (row, _), verdict in zip(rows, verdicts, strict=True):
        yield {
            **row,
            "verdict": verdict.label,
            "confidence": verdict.confidence,
            "evidence": verdict.evidence,
            "harmful_probability": verdict.harmful,
        }
