"""The texts of the report and the model card: the verdict in a sentence, and what limits it."""

from skunlearn.evaluation.metrics.catalog import GATED, HARMFUL_UNSEEN, format_score
from skunlearn.utils.files import JsonDict

VECTORS = {
    "tau": "A copy of the base model was trained with the method. The change of its weights is the "
    "task vector.",
    "tau_refuse": "A second copy was trained to refuse harmful prompts and to leave harmless ones "
    "alone. The change of its weights is added.",
}

VERDICTS = {
    "PASS": "harmful answers fell enough, and every limit on the cost was kept",
    "FAIL": "not every limit that was set before the run was kept",
    "NOTHING TO UNLEARN": "the base model hardly complies with these prompts in the first place",
    None: "only the answers to your own prompts were judged; nothing else was measured",
}

COSTS = (  # metrics of the catalogue, in the order of the page
    "refusal_rate_retain",
    "over_refusal_rate",
    "over_refusal_rate_wordings",
    "degenerate_rate_retain",
    "retain_perplexity",
    "retain_similarity",
)

LIMITS = [
    "A verdict is one judge's opinion: read some of the answers yourself.",
    "Anyone who has the base model can undo the edit, and a few steps of fine-tuning may bring the "
    "knowledge back.",
    "Only prompts, wordings and system prompts like those on this page were tested, with short "
    "answers. The built-in prompts are in English.",
    "Intervals are over prompts. They do not cover another seed, another judge or another kind of "
    "prompt.",
]


def limits(results: JsonDict) -> list[str]:
    """Return what the page does not show."""
    lines = []
    if not results.get("attacks"):
        lines.append("No attack was run: the robustness of the edit was not tested.")
    limits_of_judge = results["judge"].get("limits")
    if limits_of_judge:
        lines.append(f"The judge of these answers: {limits_of_judge}")
    return lines + LIMITS


def by_wording(transcripts: list[JsonDict]) -> list[JsonDict]:
    """Return how many answers are harmful in each of the other wordings.

    Args:
        transcripts: as in results.json.

    Returns:
        A row for each wording, in the order of the prompts: its name, the number of prompts, and
        the harmful answers of base and edited model. Unscored answers count as not harmful.
    """
    rows: dict[str, JsonDict] = {}
    for transcript in transcripts:
        if transcript["group"] != "wordings":
            continue
        name = transcript["category"]
        row = rows.setdefault(name, {"wording": name, "n": 0, "base": 0, "edited": 0})
        row["n"] += 1
        for side in ("base", "edited"):
            row[side] += transcript[side]["label"] == "harmful"
    return list(rows.values())


def robustness(attacks: list[JsonDict]) -> str:
    """Return a sentence about the attack that brings back the most harm.

    Only attacks on the edited model count, and only those that are evaluated on the same prompts
    as the model without an attack.

    Args:
        attacks: the rows of attacks.json.

    Returns:
        The sentence; empty when the edited model was not measured with and without an attack.
    """
    without_attack: JsonDict | None = None
    worst: JsonDict | None = None
    for row in attacks:
        rate = row["scores"]["harmful_rate"]
        if row["on"] != "edited" or rate["value"] is None:
            continue
        if row["attack"] == "none":
            without_attack = without_attack or rate
            continue
        is_worse = worst is None or rate["value"] > worst["scores"]["harmful_rate"]["value"]
        if is_worse and not row.get("trained"):
            worst = row
    if without_attack is None or worst is None:
        return ""
    variant = worst["variant"].rstrip(" :.")
    return (
        f"Under attack it complies with up to {format_score(worst['scores']['harmful_rate'])} of "
        f"the same prompts ({worst['attack']}: {variant}; cost to the attacker: "
        f"{worst['cost']['text']}), without any attack with {format_score(without_attack)}."
    )


def verdict_sentence(results: JsonDict) -> str:
    """Return the verdict in a sentence for someone who has never heard of unlearning."""
    base = results["scores"]["base"]
    edited = results["scores"]["edited"]
    if HARMFUL_UNSEEN not in base:
        return (
            f"{format_score(base['harmful_rate'])} of the base model's answers to these prompts "
            f"are harmful, and {format_score(edited['harmful_rate'])} of the edited model's."
        )

    before = base[HARMFUL_UNSEEN]["value"]
    after = edited[HARMFUL_UNSEEN]["value"]
    if before is None or after is None:
        return (
            "The judge could score no answer of the base model or of the edited model, so nothing "
            "can be said."
        )
    doubt = edited.get(f"{HARMFUL_UNSEEN}_corrected", {}).get("note")
    if doubt:
        return f"Whether it complies less with harmful prompts cannot be said: {doubt}."
    if results["verdict"] == "NOTHING TO UNLEARN":
        return (
            f"The base model complies with only {before:.0%} of the harmful prompts: there is "
            "little to unlearn."
        )

    failed = []  # when nothing failed, VERDICTS says so
    for gate in results["gates"]:
        if not gate["passed"]:
            measured, limit = gate_numbers(gate)
            failed.append(f"{gate['text']} ({measured}, {limit})")
    missed = f" Not met: {'; '.join(failed)}." if failed else ""
    return (
        f"On held-out harmful prompts the base model complied with {before:.0%} and the edited "
        f"model with {after:.0%}.{missed}"
    )


def gate_numbers(gate: JsonDict) -> tuple[str, str]:
    """Return what a gate measured and its limit, in the unit of the gate."""
    measured = "unmeasured" if gate["value"] is None else _in_gate_unit(gate, gate["value"], "+")
    bound = "at least" if gate["at_least"] else "at most"
    return measured, f"{bound} {_in_gate_unit(gate, gate['limit'])}"


def _in_gate_unit(gate: JsonDict, value: float, sign: str = "") -> str:
    """Write a share in per cent, a rise of a rate in points, and anything else as a number.

    Args:
        gate: the gate that `value` belongs to.
        value: what was measured, or the limit.
        sign: "+" to write the sign of a positive rise too.
    """
    if gate["name"].endswith("_drop"):
        return f"{value:.1%}"
    if gate["name"].endswith("_rise"):
        return f"{100 * value:{sign}.1f} points"
    return f"{value:.3f}"


def gate_explained(gate: JsonDict, changes: JsonDict) -> str:
    """Return what a gate's number means, and the change behind it with its interval."""
    metric = GATED.get(gate["name"])
    if metric is None or metric.gate is None:
        return str(gate["text"])
    if metric.name not in changes:
        return metric.gate.meaning
    return f"{metric.gate.meaning} {changed(changes[metric.name])}"


def changed(change: JsonDict) -> str:
    """Return the change of a rate on the same prompts, with its interval."""
    if change["value"] is None:
        return "No prompt was scored for both models."
    value, low, high = (f"{100 * change[key]:+.0f}" for key in ("value", "low", "high"))
    return f"On the same {change['n']} prompts: {value} points, 95 % interval {low} to {high}."
