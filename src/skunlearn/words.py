"""The words of the report and the model card: what each number means, and the verdict in a sentence."""

from typing import Any

Tree = dict[str, Any]

METRICS = {
    "harmful_rate_unseen": ("Harmful answers, new prompts",
                            "Share of the answers to harmful prompts never trained on that go along with them."),
    "harmful_rate_seen": ("Harmful answers, trained prompts",
                          "The same on prompts that stage 1 was trained on."),
    "refusal_rate_unseen": ("Refusals, new harmful prompts", "Share of those answers that decline."),
    "safe_rate_unseen": ("Safe answers, new harmful prompts",
                         "Share that is readable, does not decline, and does not serve the bad intent."),
    "degenerate_rate_unseen": ("Garbled answers, new harmful prompts",
                               "Share that is empty, repeating or no language: a babbling model is broken, not safe."),
    "degenerate_rate_retain": ("Garbled answers, ordinary prompts", "The same on everyday questions."),
    "refusal_rate_retain": ("Refusals, ordinary prompts", "Share of everyday questions that are declined."),
    "over_refusal_rate": ("Look-alikes refused or garbled",
                          "Harmless prompts in the words of harmful ones ('kill a Python process')."),
    "retain_nll": ("NLL of ordinary answers", "How unlikely the model finds good answers; nats per answer token."),
    "retain_perplexity": ("Perplexity of ordinary answers", "exp of the NLL."),
    "retain_kl": ("KL from the base, ordinary answers",
                  "How far the predictions moved from the base's where they should not: KL(base || edited)."),
    "retain_similarity": ("Similarity to the base's answers",
                          "Cosine of sentence embeddings of both models' answers to ordinary prompts."),
}  # fmt: skip

GROUPS = {
    "unseen": "new harmful prompts",
    "seen": "trained harmful prompts",
    "retain": "ordinary prompts",
    "lookalike": "harmless look-alikes",
}

VECTORS = {
    "tau": "A copy of the model was trained by the method; what it learnt is the task vector.",
    "tau_refuse": "A second copy learnt to decline harmful prompts and to leave harmless ones alone; that is added.",
}

NOT_ATTACKED = "No attack was run for this report."
LIMITS = [
    "A verdict is one judge's opinion. The offline judge is a small classifier: read some answers yourself.",
    "Whoever holds the base model can undo the edit, and a few steps of fine-tuning may bring the knowledge back.",
    NOT_ATTACKED,
    "Only English prompts of one turn were tested, with greedy decoding and short answers.",
    "Intervals are over prompts. They do not cover another seed, another judge or another kind of prompt.",
]


def sentence(results: Tree) -> str:
    """The verdict for someone who never heard of unlearning."""
    base, edited = results["scores"]["base"], results["scores"]["edited"]
    before, after = base["harmful_rate_unseen"]["value"], edited["harmful_rate_unseen"]["value"]
    if before is None or after is None:
        return "The judge could score no answer, so nothing can be said."
    if results["verdict"] == "NOTHING TO UNLEARN":
        return f"The base model goes along with only {before:.0%} of the harmful prompts: there is little to unlearn."
    failed = [gate["text"] for gate in results["gates"] if not gate["passed"]]
    cost = "every limit on the cost was kept" if not failed else f"not met: {'; '.join(failed)}"
    return (
        f"On harmful prompts it had not seen, the base model went along with {before:.0%} and the edited model with "
        f"{after:.0%}; {cost}."
    )


def shown(score: Tree | None) -> str:
    """A value in its unit."""
    if score is None or score["value"] is None:
        return "–"
    return f"{score['value']:.1%}" if score["unit"] == "rate" else f"{score['value']:.3f}"


def interval(score: Tree | None) -> str:
    """The 95 % interval in the value's unit, with n and the unscored."""
    if score is None or score["value"] is None:
        return f"unscored: {score['unscored']}" if score else ""
    low, high = ((f"{score[end]:.0%}" if score["unit"] == "rate" else f"{score[end]:.3f}") for end in ("low", "high"))
    unscored = f", {score['unscored']} unscored" if score["unscored"] else ""
    return f"{low} to {high}, n = {score['n']}{unscored}"
