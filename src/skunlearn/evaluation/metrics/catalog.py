"""What each metric is called, means, and is shown as."""

from skunlearn.utils.files import JsonDict

METRICS = {
    "harmful_rate": (
        "Harmful answers",
        "Share of the answers that serve a bad intent, by the judge.",
    ),
    "refusal_rate": (
        "Refusals",
        "Share of the answers that decline: good for harmful prompts, bad for ordinary ones.",
    ),
    "degenerate_rate": (
        "Garbled answers",
        "Share of the answers that are empty, repeating or no language.",
    ),
    "safe_rate": (
        "Safe answers",
        "Share of the answers that are readable, do not decline and serve no bad intent.",
    ),
    "harmful_rate_unseen": (
        "Harmful answers, new prompts",
        "Share of the answers to harmful prompts never trained on that go along with them.",
    ),
    "harmful_rate_seen": (
        "Harmful answers, trained prompts",
        "Share of the answers to harmful prompts of stage 1's training that go along with them.",
    ),
    "harmful_rate_paraphrase": (
        "Harmful answers, trained prompts in other words",
        "Share of the answers to paraphrases of trained prompts that go along: what holds only for the trained "
        "words is no unlearning.",
    ),
    "harmful_rate_unseen_corrected": (
        "Harmful answers, new prompts, corrected for the judge",
        "What a judge without errors would have counted, from this judge's measured sensitivity and specificity "
        "(Rogan-Gladen); the interval carries their doubt.",
    ),
    "harmful_rate_seen_corrected": (
        "Harmful answers, trained prompts, corrected",
        "What a judge without errors would have counted on trained prompts.",
    ),
    "harmful_rate_paraphrase_corrected": (
        "Harmful answers, paraphrases, corrected",
        "What a judge without errors would have counted on paraphrases.",
    ),
    "harmful_probability_unseen": (
        "Probability of harm, new prompts",
        "Mean of the judge's own probability that an answer is harmful.",
    ),
    "refusal_rate_unseen": (
        "Refusals, new harmful prompts",
        "Share of the answers to new harmful prompts that decline.",
    ),
    "safe_rate_unseen": (
        "Safe answers, new harmful prompts",
        "Share of the answers to new harmful prompts that are readable, do not decline, and do not serve the bad "
        "intent.",
    ),
    "degenerate_rate_unseen": (
        "Garbled answers, new harmful prompts",
        "Share of the answers to new harmful prompts that are empty, repeating or no language: a babbling model "
        "is broken, not safe.",
    ),
    "degenerate_rate_retain": (
        "Garbled answers, ordinary prompts",
        "Share of the answers to everyday questions that are empty, repeating or no language.",
    ),
    "refusal_rate_retain": (
        "Refusals, ordinary prompts",
        "Share of everyday questions that are declined.",
    ),
    "over_refusal_rate": (
        "Look-alikes refused or garbled",
        "Share of harmless prompts in the words of harmful ones ('kill a Python process') that are not answered.",
    ),
    "retain_nll": (
        "NLL of ordinary answers",
        "How unlikely the model finds good answers; nats per answer token.",
    ),
    "retain_perplexity": (
        "Perplexity of ordinary answers",
        "How surprised the model is by good answers, as a number of equally likely next tokens: exp of the NLL.",
    ),
    "retain_kl": (
        "KL from the base, ordinary answers",
        "How far the predictions moved from the base's where they should not: KL(base || edited).",
    ),
    "retain_similarity": (
        "Similarity to the base's answers",
        "Cosine of sentence embeddings of both models' answers to ordinary prompts.",
    ),
    "reference_similarity": (
        "Similarity to good answers",
        "Cosine of sentence embeddings of its answers to ordinary prompts and the reference ones.",
    ),
    "retain_rouge_l": (
        "ROUGE-L with good answers",
        "Words in common, in order, with the reference answers.",
    ),
    "distinct_2_unseen": (
        "Variety, new harmful prompts",
        "Different word pairs over all word pairs of the answers.",
    ),
    "distinct_2_retain": (
        "Variety, ordinary prompts",
        "Different word pairs over all word pairs of the answers to everyday questions.",
    ),
    "answer_words_unseen": ("Words an answer, new harmful prompts", "Mean number of words."),
    "answer_words_retain": ("Words an answer, ordinary prompts", "Mean number of words."),
    "text_perplexity": (
        "Perplexity of plain text",
        "Good answers read as text, without the chat's frame.",
    ),
    "choice_accuracy": (
        "General knowledge",
        "Questions whose right one of four answers is the likeliest.",
    ),
    "neighbour_accuracy": (
        "Knowledge next door",
        "Share of harmless questions about the subjects of the harmful prompts whose right answer of four is the "
        "likeliest.",
    ),
    "forget_probability": (
        "Probability of trained harmful answers",
        "Geometric mean of the tokens' probabilities.",
    ),
    "forget_exact_memorisation": (
        "Their tokens that come first to mind",
        "Share of the tokens that greedy decoding would write after the true ones.",
    ),
    "forget_extraction_strength": (
        "Their endings that can be extracted",
        "Share of the answer that greedy decoding completes from its beginning.",
    ),
    "membership_loss_auc": (
        "Membership inference: loss",
        "Can trained answers be told from others? 50 % is a coin.",
    ),
    "membership_min_k_auc": (
        "Membership inference: Min-K%",
        "Trained answers told from others by their least likely tokens.",
    ),
    "membership_min_k_plus_auc": (
        "Membership inference: Min-K%++",
        "As Min-K%, with each token's likelihood standardised.",
    ),
    "membership_zlib_auc": (
        "Membership inference: zlib",
        "Trained answers told from others by loss over compressed size.",
    ),
    "membership_reference_auc": (
        "Membership inference: reference",
        "Trained answers told from others by loss against the base.",
    ),
    "answer_perplexity_unseen": (
        "Fluency, new harmful prompts",
        "Perplexity of the model's own answers under the base; high is word salad.",
    ),
    "answer_perplexity_seen": (
        "Fluency, trained harmful prompts",
        "Perplexity of its own answers to trained prompts under the base.",
    ),
    "answer_perplexity_paraphrase": (
        "Fluency, paraphrases",
        "Perplexity of its own answers to paraphrases under the base.",
    ),
    "answer_perplexity_retain": (
        "Fluency, ordinary prompts",
        "Perplexity of its own answers to everyday questions under the base.",
    ),
    "answer_perplexity_lookalike": (
        "Fluency, look-alikes",
        "Perplexity of its own answers to harmless look-alikes under the base.",
    ),
}


GROUPS = {
    "unseen": "new harmful prompts",
    "seen": "trained harmful prompts",
    "paraphrase": "trained prompts in other words",
    "retain": "ordinary prompts",
    "lookalike": "harmless look-alikes",
    "prompts": "these prompts",
}


ORDINARY, HARMLESS = (
    ("retain", "lookalike"),
    ("refused", "safe", "degenerate"),
)  # groups and labels shown in clear


LABELS = {
    "harmful": "harmful",
    "refused": "refused",
    "degenerate": "garbled",
    "safe": "safe",
    "unscored": "unscored",
}


def format_score(score: JsonDict | None) -> str:
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


def tooltip(metric: str, score: JsonDict | None) -> str:
    """What a number is, its 95 % interval, and which way is good: what the page shows when it is
    pointed at."""
    if score is None:
        return f"{meaning(metric)} Not measured.".strip()
    ends = format_interval(score)
    words = f"95 % interval: {ends}." if " to " in ends else f"{ends}."
    return f"{meaning(metric)} {words} {direction(score).capitalize()} is good.".strip()


def direction(score: JsonDict) -> str:
    """Which way is good, in a word."""
    return {True: "high", False: "low", None: "neither"}[score["higher_is_better"]]


def format_interval(score: JsonDict | None) -> str:
    """The 95 % interval in the value's unit, with n and the unscored; why there is none, where that
    is known."""
    if score is None or score["value"] is None:
        return (score.get("note") or f"unscored: {score['unscored']}") if score else ""
    unscored = f", {score['unscored']} unscored" if score["unscored"] else ""
    if score["low"] is None:
        return f"n = {score['n']}{unscored}"
    low, high = (_in_unit(score[end], score["unit"], 0) for end in ("low", "high"))
    return f"{low} to {high}, n = {score['n']}{unscored}"
