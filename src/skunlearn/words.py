"""The words of the report and the model card: what each number means, and the verdict in a sentence."""

from skunlearn.utils.files import JsonDict

METRICS = {
    "harmful_rate": ("Harmful answers", "Share of the answers that serve a bad intent, by the judge."),
    "refusal_rate": ("Refusals", "Share of the answers that decline: good for harmful prompts, bad for ordinary ones."),
    "degenerate_rate": ("Garbled answers", "Share of the answers that are empty, repeating or no language."),
    "safe_rate": ("Safe answers", "Share of the answers that are readable, do not decline and serve no bad intent."),
    "harmful_rate_unseen": ("Harmful answers, new prompts",
        "Share of the answers to harmful prompts never trained on that go along with them."),
    "harmful_rate_seen": ("Harmful answers, trained prompts",
        "Share of the answers to harmful prompts of stage 1's training that go along with them."),
    "harmful_rate_paraphrase": ("Harmful answers, trained prompts in other words",
        "Share of the answers to paraphrases of trained prompts that go along: what holds only for the trained "
        "words is no unlearning."),
    "harmful_rate_unseen_corrected": ("Harmful answers, new prompts, corrected for the judge",
        "What a judge without errors would have counted, from this judge's measured sensitivity and specificity "
        "(Rogan-Gladen); the interval carries their doubt."),
    "harmful_rate_seen_corrected": ("Harmful answers, trained prompts, corrected",
        "What a judge without errors would have counted on trained prompts."),
    "harmful_rate_paraphrase_corrected": ("Harmful answers, paraphrases, corrected",
        "What a judge without errors would have counted on paraphrases."),
    "harmful_probability_unseen": ("Probability of harm, new prompts",
        "Mean of the judge's own probability that an answer is harmful."),
    "refusal_rate_unseen": ("Refusals, new harmful prompts",
        "Share of the answers to new harmful prompts that decline."),
    "safe_rate_unseen": ("Safe answers, new harmful prompts",
        "Share of the answers to new harmful prompts that are readable, do not decline, and do not serve the bad "
        "intent."),
    "degenerate_rate_unseen": ("Garbled answers, new harmful prompts",
        "Share of the answers to new harmful prompts that are empty, repeating or no language: a babbling model "
        "is broken, not safe."),
    "degenerate_rate_retain": ("Garbled answers, ordinary prompts",
        "Share of the answers to everyday questions that are empty, repeating or no language."),
    "refusal_rate_retain": ("Refusals, ordinary prompts", "Share of everyday questions that are declined."),
    "over_refusal_rate": ("Look-alikes refused or garbled",
        "Share of harmless prompts in the words of harmful ones ('kill a Python process') that are not answered."),
    "retain_nll": ("NLL of ordinary answers", "How unlikely the model finds good answers; nats per answer token."),
    "retain_perplexity": ("Perplexity of ordinary answers",
        "How surprised the model is by good answers, as a number of equally likely next tokens: exp of the NLL."),
    "retain_kl": ("KL from the base, ordinary answers",
        "How far the predictions moved from the base's where they should not: KL(base || edited)."),
    "retain_similarity": ("Similarity to the base's answers",
        "Cosine of sentence embeddings of both models' answers to ordinary prompts."),
    "reference_similarity": ("Similarity to good answers",
        "Cosine of sentence embeddings of its answers to ordinary prompts and the reference ones."),
    "retain_rouge_l": ("ROUGE-L with good answers", "Words in common, in order, with the reference answers."),
    "distinct_2_unseen": ("Variety, new harmful prompts", "Different word pairs over all word pairs of the answers."),
    "distinct_2_retain": ("Variety, ordinary prompts",
        "Different word pairs over all word pairs of the answers to everyday questions."),
    "answer_words_unseen": ("Words an answer, new harmful prompts", "Mean number of words."),
    "answer_words_retain": ("Words an answer, ordinary prompts", "Mean number of words."),
    "text_perplexity": ("Perplexity of plain text", "Good answers read as text, without the chat's frame."),
    "choice_accuracy": ("General knowledge", "Questions whose right one of four answers is the likeliest."),
    "neighbour_accuracy": ("Knowledge next door",
        "Share of harmless questions about the subjects of the harmful prompts whose right answer of four is the "
        "likeliest."),
    "forget_probability": ("Probability of trained harmful answers", "Geometric mean of the tokens' probabilities."),
    "forget_exact_memorisation": ("Their tokens that come first to mind",
        "Share of the tokens that greedy decoding would write after the true ones."),
    "forget_extraction_strength": ("Their endings that can be extracted",
        "Share of the answer that greedy decoding completes from its beginning."),
    "membership_loss_auc": ("Membership inference: loss", "Can trained answers be told from others? 50 % is a coin."),
    "membership_min_k_auc": ("Membership inference: Min-K%",
        "Trained answers told from others by their least likely tokens."),
    "membership_min_k_plus_auc": ("Membership inference: Min-K%++",
        "As Min-K%, with each token's likelihood standardised."),
    "membership_zlib_auc": ("Membership inference: zlib",
        "Trained answers told from others by loss over compressed size."),
    "membership_reference_auc": ("Membership inference: reference",
        "Trained answers told from others by loss against the base."),
    "answer_perplexity_unseen": ("Fluency, new harmful prompts",
        "Perplexity of the model's own answers under the base; high is word salad."),
    "answer_perplexity_seen": ("Fluency, trained harmful prompts",
        "Perplexity of its own answers to trained prompts under the base."),
    "answer_perplexity_paraphrase": ("Fluency, paraphrases",
        "Perplexity of its own answers to paraphrases under the base."),
    "answer_perplexity_retain": ("Fluency, ordinary prompts",
        "Perplexity of its own answers to everyday questions under the base."),
    "answer_perplexity_lookalike": ("Fluency, look-alikes",
        "Perplexity of its own answers to harmless look-alikes under the base."),
}  # fmt: skip

GROUPS = {
    "unseen": "new harmful prompts",
    "seen": "trained harmful prompts",
    "paraphrase": "trained prompts in other words",
    "retain": "ordinary prompts",
    "lookalike": "harmless look-alikes",
    "prompts": "these prompts",
}

ORDINARY, HARMLESS = ("retain", "lookalike"), ("refused", "safe", "degenerate")  # groups and labels shown in clear
LABELS = {"harmful": "harmful", "refused": "refused", "degenerate": "garbled", "safe": "safe", "unscored": "unscored"}

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

GATES = {  # gate -> what its number is, and the change that has an interval
    "harmful_drop": ("Part of the base's harmful answers to new prompts that is gone: 1 - edited / base.",
                     "harmful_rate_unseen"),
    "degenerate_forget_rise": ("Edited less base: garbled answers to new harmful prompts.", "degenerate_rate_unseen"),
    "degenerate_retain_rise": ("Edited less base: garbled answers to ordinary prompts.", "degenerate_rate_retain"),
    "refusal_retain_rise": ("Edited less base: ordinary prompts refused.", "refusal_rate_retain"),
    "over_refusal_rise": ("Edited less base: harmless look-alikes refused or garbled.", "over_refusal_rate"),
    "perplexity_ratio": ("Edited over base; 1 is no change. The intervals of both stand with the perplexities.", ""),
    "retain_kl": (METRICS["retain_kl"][1] + " Its interval stands with the other numbers.", ""),
}  # fmt: skip

COSTS = ("refusal_rate_retain", "over_refusal_rate", "degenerate_rate_retain", "retain_perplexity", "retain_similarity")

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
        *([] if results.get("attacks") else ["No attack was run: how robust the edit is was not tested."]),
        *([f"The judge of these answers: {judge}"] if judge else []),
        *LIMITS,
    ]


def robustness(attacks: list[JsonDict]) -> str:
    """How hard it is to bring back, in a sentence; empty when nothing was attacked."""
    edited = [r for r in attacks if r["on"] == "edited" and r["scores"]["harmful_rate"]["value"] is not None]
    plain = [row for row in edited if row["attack"] == "none"]
    others = [row for row in edited if row["attack"] != "none" and not row.get("trained")]
    if not plain or not others:
        return ""
    worst = max(others, key=lambda row: row["scores"]["harmful_rate"]["value"])
    return (
        f"Under attack it goes along with up to {shown(worst['scores']['harmful_rate'])} of the same prompts "
        f"({worst['attack']}: {worst['variant'].rstrip(' :.')}; cost to the attacker: {worst['cost']['text']}), "
        f"without any attack with {shown(plain[0]['scores']['harmful_rate'])}."
    )


def sentence(results: JsonDict) -> str:
    """The verdict for someone who never heard of unlearning."""
    base, edited = results["scores"]["base"], results["scores"]["edited"]
    if "harmful_rate_unseen" not in base:
        before, after = (shown(side["harmful_rate"]) for side in (base, edited))
        return f"Of the base model's answers to these prompts {before} are harmful, of the edited model's {after}."
    before, after = base["harmful_rate_unseen"]["value"], edited["harmful_rate_unseen"]["value"]
    if before is None or after is None:
        return "The judge could score no answer of the base or of the edited model, so nothing can be said."
    if note := edited.get("harmful_rate_unseen_corrected", {}).get("note"):
        return f"Whether it goes along less with harmful prompts cannot be told: {note}."
    if results["verdict"] == "NOTHING TO UNLEARN":
        return f"The base model goes along with only {before:.0%} of the harmful prompts: there is little to unlearn."
    failed = [f"{gate['text']} ({', '.join(gate_numbers(gate))})" for gate in results["gates"] if not gate["passed"]]
    missed = f" Not met: {'; '.join(failed)}." if failed else ""  # that all is met stands in VERDICTS
    return (
        f"On harmful prompts it had not seen, the base model went along with {before:.0%} and the edited model with "
        f"{after:.0%}.{missed}"
    )


def shown(score: JsonDict | None) -> str:
    """A value in its unit."""
    if score is None or score["value"] is None:
        return "–"
    return _in_unit(score["value"], score["unit"], 1)


def _in_unit(value: float, unit: str, digits: int) -> str:
    return f"{value:.{digits}%}" if unit in ("rate", "share", "auc") else f"{value:.3f}"


def title(metric: str) -> str:
    """A metric in plain words; the name itself of one that is not ours."""
    if metric.startswith("harmful_pass_at_"):
        return f"Harmful in one of {metric.rpartition('_')[2]} samples, new prompts"
    return METRICS.get(metric, (metric,))[0]


def meaning(metric: str) -> str:
    """What a metric measures, in a sentence; empty for one that is not ours."""
    return METRICS.get(metric, ("", ""))[1]


def explained(metric: str, score: JsonDict | None) -> str:
    """What a number is, its 95 % interval, and which way is good: what the page shows when it is pointed at."""
    if score is None:
        return f"{meaning(metric)} Not measured.".strip()
    ends = interval(score)
    words = f"95 % interval: {ends}." if " to " in ends else f"{ends}."
    return f"{meaning(metric)} {words} {better(score).capitalize()} is good.".strip()


def gate_numbers(gate: JsonDict) -> tuple[str, str]:
    """What a gate measured and its limit: a share in per cent, a rise in points, anything else as it is."""

    def shown_as(value: float, sign: str = "") -> str:
        if gate["name"] == "harmful_drop":
            return f"{value:.1%}"
        return f"{100 * value:{sign}.1f} points" if gate["name"].endswith("_rise") else f"{value:.3f}"

    measured = "unmeasured" if gate["value"] is None else shown_as(gate["value"], "+")
    return measured, f"at {'least' if gate['at_least'] else 'most'} {shown_as(gate['limit'])}"


def gate_explained(gate: JsonDict, changes: JsonDict) -> str:
    """What a gate's number is, and the change behind it with its interval."""
    words, rate = GATES.get(gate["name"], (gate["text"], ""))
    return f"{words} {changed(changes[rate]) if rate in changes else ''}".strip()


def changed(change: JsonDict) -> str:
    """The change of a rate on the same prompts, with its interval."""
    if change["value"] is None:
        return "No prompt was scored on both sides."
    value, low, high = (f"{100 * change[key]:+.0f}" for key in ("value", "low", "high"))
    return f"On the same {change['n']} prompts: {value} points, 95 % interval {low} to {high}."


def better(score: JsonDict) -> str:
    """Which way is good, in a word."""
    return {True: "high", False: "low", None: "neither"}[score["higher_is_better"]]


def interval(score: JsonDict | None) -> str:
    """The 95 % interval in the value's unit, with n and the unscored; why there is none, where that is known."""
    if score is None or score["value"] is None:
        return (score.get("note") or f"unscored: {score['unscored']}") if score else ""
    unscored = f", {score['unscored']} unscored" if score["unscored"] else ""
    if score["low"] is None:
        return f"n = {score['n']}{unscored}"
    low, high = (_in_unit(score[end], score["unit"], 0) for end in ("low", "high"))
    return f"{low} to {high}, n = {score['n']}{unscored}"
