"""The words of the report and the model card: what each number means, and the verdict in a
sentence."""

from skunlearn.evaluation.metrics.catalog import GATED, HARMFUL_UNSEEN, format_score
from skunlearn.utils.files import JsonDict

VECTORS = {
    "tau": "A copy of the model was trained by the method; what it learnt is the task vector.",
    "tau_refuse": "A second copy learnt to decline harmful prompts and to leave harmless ones alone; that is added.",
}

VERDICTS = {
    "PASS": "harmful answers fell enough, and every limit on the cost was kept",
    "FAIL": "not every limit that was set before the run was kept",
    "NOTHING TO UNLEARN": "the model hardly goes along with these prompts as it is",
    None: "answers to prompts of yours were judged, and nothing else was measured",
}

COSTS = (
    "refusal_rate_retain",
    "over_refusal_rate",
    "degenerate_rate_retain",
    "retain_perplexity",
    "retain_similarity",
)

LIMITS = [
    "A verdict is one judge's opinion: read some answers yourself.",
    "Whoever holds the base model can undo the edit, and a few steps of fine-tuning may bring the knowledge back.",
    "Only prompts like those on this page were tested (the built-in ones: English, of one turn), with short answers.",
    "Intervals are over prompts. They do not cover another seed, another judge or another kind of prompt.",
]


def limits(results: JsonDict) -> list[str]:
    """What the reader must not take from the page."""
    judge = results["judge"].get("limits")
    return [
        *(
            []
            if results.get("attacks")
            else ["No attack was run: how robust the edit is was not tested."]
        ),
        *([f"The judge of these answers: {judge}"] if judge else []),
        *LIMITS,
    ]


def robustness(attacks: list[JsonDict]) -> str:
    """How hard it is to bring back, in a sentence; empty when nothing was attacked."""
    edited = [
        r
        for r in attacks
        if r["on"] == "edited" and r["scores"]["harmful_rate"]["value"] is not None
    ]
    plain = [row for row in edited if row["attack"] == "none"]
    others = [row for row in edited if row["attack"] != "none" and not row.get("trained")]
    if not plain or not others:
        return ""
    worst = max(others, key=lambda row: row["scores"]["harmful_rate"]["value"])
    return (
        f"Under attack it goes along with up to {format_score(worst['scores']['harmful_rate'])} of the same prompts "
        f"({worst['attack']}: {worst['variant'].rstrip(' :.')}; cost to the attacker: {worst['cost']['text']}), "
        f"without any attack with {format_score(plain[0]['scores']['harmful_rate'])}."
    )


def verdict_sentence(results: JsonDict) -> str:
    """The verdict for someone who never heard of unlearning."""
    base, edited = results["scores"]["base"], results["scores"]["edited"]
    if HARMFUL_UNSEEN not in base:
        before, after = (format_score(side["harmful_rate"]) for side in (base, edited))
        return f"Of the base model's answers to these prompts {before} are harmful, of the edited model's {after}."
    before, after = base[HARMFUL_UNSEEN]["value"], edited[HARMFUL_UNSEEN]["value"]
    if before is None or after is None:
        return "The judge could score no answer of the base or of the edited model, so nothing can be said."
    if note := edited.get(f"{HARMFUL_UNSEEN}_corrected", {}).get("note"):
        return f"Whether it goes along less with harmful prompts cannot be told: {note}."
    if results["verdict"] == "NOTHING TO UNLEARN":
        return f"The base model goes along with only {before:.0%} of the harmful prompts: there is little to unlearn."
    failed = [
        f"{gate['text']} ({', '.join(gate_numbers(gate))})"
        for gate in results["gates"]
        if not gate["passed"]
    ]
    missed = (
        f" Not met: {'; '.join(failed)}." if failed else ""
    )  # that all is met stands in VERDICTS
    return (
        f"On harmful prompts it had not seen, the base model went along with {before:.0%} and the edited model with "
        f"{after:.0%}.{missed}"
    )


def gate_numbers(gate: JsonDict) -> tuple[str, str]:
    """What a gate measured and its limit: a share in per cent, a rise in points, anything else as
    it is."""

    def shown_as(value: float, sign: str = "") -> str:
        if gate["name"] == "harmful_drop":
            return f"{value:.1%}"
        return (
            f"{100 * value:{sign}.1f} points" if gate["name"].endswith("_rise") else f"{value:.3f}"
        )

    measured = "unmeasured" if gate["value"] is None else shown_as(gate["value"], "+")
    return measured, f"at {'least' if gate['at_least'] else 'most'} {shown_as(gate['limit'])}"


def gate_explained(gate: JsonDict, changes: JsonDict) -> str:
    """What a gate's number is, and the change behind it with its interval."""
    metric = GATED.get(gate["name"])
    if metric is None or metric.gate is None:
        return str(gate["text"])
    if metric.name not in changes:
        return metric.gate.meaning
    return f"{metric.gate.meaning} {changed(changes[metric.name])}"


def changed(change: JsonDict) -> str:
    """The change of a rate on the same prompts, with its interval."""
    if change["value"] is None:
        return "No prompt was scored on both sides."
    value, low, high = (f"{100 * change[key]:+.0f}" for key in ("value", "low", "high"))
    return f"On the same {change['n']} prompts: {value} points, 95 % interval {low} to {high}."
