"""The page of a run: one self-contained HTML file from the contents of results.json."""

from collections.abc import Collection
from pathlib import Path

from skunlearn.evaluation.judges.base import LABELS
from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    GROUPS,
    HARMFUL_UNSEEN,
    HARMLESS,
    ORDINARY,
)
from skunlearn.report.plotly_figures import (
    loss_figure,
    rates_figure,
    relearning_figure,
    robustness_figure,
    strength_figure,
)
from skunlearn.report.templates import rendered
from skunlearn.report.wording import (
    COSTS,
    VECTORS,
    VERDICTS,
    by_wording,
    limits,
    robustness,
    verdict_sentence,
)
from skunlearn.utils.files import JsonDict, write_text

MAX_ANSWER_CHARACTERS = 900_000  # of all answers on a page, so that it stays below 6 MB
CHARACTERS_AROUND_ANSWERS = 900  # markup around one prompt and its two answers
HEADLINE_GROUPS = ("unseen", "prompts")  # the sets of prompts of the first number on the page
PAPER = (  # columns of table 2 in the SKU paper (arXiv:2402.10058)
    "harmful_rate_seen",
    "answer_perplexity_seen",
    HARMFUL_UNSEEN,
    "answer_perplexity_unseen",
    "answer_perplexity_retain",
    "retain_similarity",
)


def write_report(results: JsonDict, path: Path) -> None:
    """Write the page of a run or an evaluation, whole or not at all."""
    write_text(path, render(results))


def write_attacks(found: JsonDict, path: Path) -> None:
    """Write the page of attacks alone, whole or not at all.

    Args:
        found: the contents of `attacks.json`.
        path: the file to write.
    """
    write_text(path, rendered("attacks.html", found=found, **_attack_values(found["attacks"])))


def render(results: JsonDict) -> str:
    """Return the page of a run as HTML. Texts of models and data sets are escaped.

    Args:
        results: the contents of results.json, with the rows of attacks.json as `attacks` if there
            are any.
    """
    edited = results["scores"]["edited"]
    transcripts = _transcripts_that_fit(results)
    return rendered(
        "page.html",
        results=results,
        verdict=VERDICTS[results["verdict"]],
        sentence=verdict_sentence(results),
        change=results["changes"].get(HARMFUL_UNSEEN) or results["changes"]["harmful_rate"],
        categories=_categories(transcripts, HEADLINE_GROUPS),
        costs=[name for name in (*COSTS, "refusal_rate", "degenerate_rate") if name in edited],
        names=_metric_names(edited),
        paper=PAPER if edited.keys() >= set(PAPER) else (),
        by_wording=by_wording(results["transcripts"]),
        rates=rates_figure(results),
        groups=GROUPS,
        filters=_filters(transcripts),
        transcripts=transcripts,
        left_out=len(results["transcripts"]) - len(transcripts),
        ordinary=ORDINARY,
        harmless=HARMLESS,
        limits=limits(results),
        **_attack_values(results.get("attacks") or []),
        vectors=VECTORS,
        losses={name: loss_figure(rows) for name, rows in results["losses"].items()},
        strength=strength_figure(results["curve"], results["alpha"]) if results["curve"] else "",
    )


def _metric_names(edited: JsonDict) -> list[str]:
    """Return the metrics of the edited model: first in the catalogue's order, then the others."""
    names = [name for name in CATALOG if name in edited]
    for name in edited:
        if name not in CATALOG:
            names.append(name)
    return names


def _attack_values(attacks: list[JsonDict]) -> JsonDict:
    """Return what the panel of attacks shows."""
    return {
        "attacks": attacks,
        "robustness": robustness(attacks),
        "robustness_figure": robustness_figure(attacks) if attacks else "",
        "relearning_figure": relearning_figure(attacks),
    }


def _transcripts_that_fit(results: JsonDict) -> list[JsonDict]:
    """Return the prompts whose answers are shown.

    When all of them together are too long for the page, every n-th one is shown, so that all sets
    of prompts stay represented, and every one that a score links to as an example.
    """
    rows: list[JsonDict] = results["transcripts"]
    characters = 0
    for row in rows:
        answers = len(row["base"]["answer"]) + len(row["edited"]["answer"])
        characters += CHARACTERS_AROUND_ANSWERS + len(row["prompt"]) + answers
    if characters <= MAX_ANSWER_CHARACTERS:
        return rows

    linked = _example_keys(results["scores"])
    step = -(-characters // MAX_ANSWER_CHARACTERS)  # rounded up
    shown = []
    for number, row in enumerate(rows):
        is_linked = row["base"].get("key") in linked or row["edited"].get("key") in linked
        if number % step == 0 or is_linked:
            shown.append(row)
    return shown


def _example_keys(scores: JsonDict) -> set[str]:
    """Return the keys of the answers that any score names as an example."""
    keys: set[str] = set()
    for side in scores.values():
        for score in side.values():
            keys.update(score.get("examples") or [])
    return keys


def _filters(transcripts: list[JsonDict]) -> list[tuple[str, str, dict[str, str]]]:
    """Return what the answers can be filtered by: (key of a row, caption, value -> its text)."""
    present = {row["group"] for row in transcripts}
    groups = {key: text for key, text in GROUPS.items() if key in present}
    labels = (*LABELS, "unscored")
    label_texts = dict(zip(labels, labels, strict=True))
    return [
        ("group", "prompts", groups),
        ("category", "category", _categories(transcripts)),
        ("base", "base answer is", label_texts),
        ("edited", "edited answer is", label_texts),
    ]


def _categories(
    transcripts: list[JsonDict], groups: Collection[str] = tuple(GROUPS)
) -> dict[str, str]:
    """Return the categories of the prompts of these groups, and how they read on the page."""
    found: set[str] = set()
    for row in transcripts:
        if row["category"] and row["group"] in groups:
            found.add(row["category"])
    texts = {}
    for category in sorted(found):
        texts[category] = category.replace("_", " ")
    return texts
