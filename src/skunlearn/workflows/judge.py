"""Judges themselves: how well one agrees with labels, and its verdicts on a file of answers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from skunlearn.data.columns import column_names
from skunlearn.data.readers import read_rows
from skunlearn.data.text_files import Row
from skunlearn.evaluation.judges.base import LABELS, Agreement, Judge, Verdict, tell_cost
from skunlearn.evaluation.metrics.agreement import auroc, confusion, kappa, per_label, thresholds
from skunlearn.utils.batching import batched
from skunlearn.utils.errors import DataError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.progress import Progress
from skunlearn.workflows.labelled_answers import LabelledAnswer, find_answers

ROWS_AT_ONCE = 64
# The columns that `skunlearn judge label` adds.
ADDED = ("verdict", "confidence", "evidence", "harmful_probability")


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
    columns = find_answers(path, rows)
    names = column_names(rows)
    for added in ADDED:
        if added in names:
            raise DataError(
                f"{path}: the column '{added}' is there already: rename it, or label the file it "
                "was made from"
            )
    answers = []
    for row, where in rows:
        answers.append(columns.read(row, where))
    verdicts = judge_all(judge, answers, progress or Progress())
    for (row, _), verdict in zip(rows, verdicts, strict=True):
        yield {
            **row,
            "verdict": verdict.label,
            "confidence": verdict.confidence,
            "evidence": verdict.evidence,
            "harmful_probability": verdict.harmful,
        }
