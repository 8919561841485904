"""One self-contained HTML page from the contents of results.json."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    GROUPS,
    HARMFUL_UNSEEN,
    HARMLESS,
    ORDINARY,
    direction,
    format_interval,
    format_score,
    meaning,
    title,
    tooltip,
)
from skunlearn.report.plotly_figures import (
    loss_figure,
    rates_figure,
    relearning_figure,
    robustness_figure,
    script,
    strength_figure,
)
from skunlearn.report.wording import (
    COSTS,
    VECTORS,
    VERDICTS,
    changed,
    gate_explained,
    gate_numbers,
    limits,
    robustness,
    verdict_sentence,
)
from skunlearn.utils.files import JsonDict, write_text

LABELS = ("harmful", "refused", "degenerate", "safe", "unscored")
MOST_TEXT, AROUND = (
    900_000,
    900,
)  # bytes of all answers on the page, which stays below 6 MB, and of what is around one
PAPER = (  # the columns of its table 2
    "harmful_rate_seen",
    "answer_perplexity_seen",
    HARMFUL_UNSEEN,
    "answer_perplexity_unseen",
    "answer_perplexity_retain",
    "retain_similarity",
)
# what templates say numbers with
WORDS = (
    direction,
    changed,
    tooltip,
    gate_explained,
    gate_numbers,
    format_interval,
    meaning,
    format_score,
    title,
)


def render(results: JsonDict) -> str:
    """The page; every text of a model or a data set is escaped."""
    attacks, transcripts = results.get("attacks") or [], _fitting(results)
    edited = results["scores"]["edited"]
    return rendered(
        "page.html",
        results=results,
        verdict=VERDICTS[results["verdict"]],
        sentence=verdict_sentence(results),
        change=results["changes"].get(HARMFUL_UNSEEN) or results["changes"]["harmful_rate"],
        kinds=_kinds([row for row in transcripts if row["group"] in ("unseen", "prompts")]),
        costs=[name for name in (*COSTS, "refusal_rate", "degenerate_rate") if name in edited],
        names=[
            *(name for name in CATALOG if name in edited),
            *(name for name in edited if name not in CATALOG),
        ],
        paper=PAPER if all(name in edited for name in PAPER) else (),
        rates=rates_figure(results),
        groups=GROUPS,
        filters=_filters(transcripts),
        transcripts=transcripts,
        left_out=len(results["transcripts"]) - len(transcripts),
        ordinary=ORDINARY,
        harmless=HARMLESS,
        limits=limits(results),
        **_attacked(attacks),
        vectors=VECTORS,
        losses={name: loss_figure(rows) for name, rows in results["losses"].items()},
        strength=strength_figure(results["curve"], results["alpha"]) if results["curve"] else "",
    )


def rendered(name: str, **values: Any) -> str:
    """A template that ships beside this module, with its values, escaped unless it says
    otherwise."""
    loader = FunctionLoader(resource)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": resource("page.css"),
        "behaviour": resource("page.js"),
        "plotly": script(),
    }
    environment.globals |= {function.__name__: function for function in WORDS}
    return environment.get_template(name).render(**values)


def _fitting(results: JsonDict) -> list[JsonDict]:
    """Of the answers evenly many of all kinds, as fit on the page, and those that numbers lead
    to."""
    rows: list[JsonDict] = results["transcripts"]
    size = sum(
        AROUND + len(row["prompt"]) + sum(len(row[side]["answer"]) for side in ("base", "edited"))
        for row in rows
    )
    if size <= MOST_TEXT:
        return rows
    scores = [score for side in results["scores"].values() for score in side.values()]
    linked = {key for score in scores for key in score.get("examples") or []}
    step = -(-size // MOST_TEXT)
    return [
        row
        for number, row in enumerate(rows)
        if number % step == 0 or linked & {row[side].get("key") for side in ("base", "edited")}
    ]


def _filters(transcripts: list[JsonDict]) -> list[tuple[str, str, dict[str, str]]]:
    """(key of a row, words, value -> words) of what the answers can be filtered by."""
    groups = {row["group"] for row in transcripts}
    labels = {label: label for label in LABELS}
    return [
        ("group", "prompts", {key: text for key, text in GROUPS.items() if key in groups}),
        ("category", "category", _kinds(transcripts)),
        ("base", "base answer is", labels),
        ("edited", "edited answer is", labels),
    ]


def _kinds(transcripts: list[JsonDict]) -> dict[str, str]:
    """The categories of the prompts, and how they read."""
    return {
        kind: kind.replace("_", " ")
        for kind in sorted({row["category"] for row in transcripts} - {None, ""})
    }


def _attacked(attacks: list[JsonDict]) -> JsonDict:
    """What the panel of attacks shows."""
    return {
        "attacks": attacks,
        "robustness": robustness(attacks),
        "robustness_figure": robustness_figure(attacks) if attacks else "",
        "relearning_figure": relearning_figure(attacks),
    }


def write_attacks(found: JsonDict, path: Path) -> None:
    """Write the page of attacks alone, from the contents of `attacks.json`, whole or not at all."""
    write_text(path, rendered("attacks.html", found=found, **_attacked(found["attacks"])))


def write_report(results: JsonDict, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render(results))


def resource(name: str) -> str:
    """A text that ships beside this module."""
    return files("skunlearn.report").joinpath(name).read_text(encoding="utf-8")
