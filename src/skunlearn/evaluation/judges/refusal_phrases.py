"""Phrases in which an assistant declines: says near the beginning that it will not or cannot
help."""

import re

# Characters in which a refusal is searched: what is declined later follows advice already given.
HEAD = 220

_DECLINES = [
    r"\bi(?:'m| am)(?: \w+){0,3} sorry\b[^.!?\n]{0,60}(?:\bbut\b|[.!,])[^.!?\n]{0,40}\b(?:can't|cannot|can not|won't|unable|not able|"
    r"don't have the|not equipped|not comfortable|not allowed|must|programmed|not programmed|not capable)\b",
    r"\bi (?:can't|cannot|can not|won't|will not|could not|couldn't|am unable to|am not able to|'m unable to)"
    r"(?: \w+){0,2} (?:help|assist|provide|support|do that|answer|fulfil|fulfill|comply|write|create|give|offer|engage|participate|"
    r"condone|encourage|promote|generate|discuss|share|recommend|advise|suggest|endorse|tell|continue|produce|draft|show|teach)\b",
    r"\bi(?:'m| am) (?:\w+ )?(?:unable|not able|not willing|not equipped|not comfortable|not going|not authorized|not capable|not programmed|not designed|not allowed)\b",
    r"\bi (?:do not|don't) (?:\w+ )?(?:have the (?:ability|capability|capacity)|feel comfortable|condone|support|engage|provide|"
    r"encourage|promote|endorse|assist|have any (?:specific )?(?:information|plans)|have (?:personal|access))\b",
    r"\bi must (?:decline|refuse|respectfully decline|emphasi[sz]e|inform you|clarify|stress)\b",
    r"\b(?:as|being) an? (?:ai|chatbot|language model|artificial|virtual|digital)\b[^.!?\n]{0,90}\b(?:not|n't|cannot|unable)\b",
    r"\bi(?:'m| am) (?:just |only )?(?:a|an) (?:ai|chatbot|text-based)[^.!?\n]{0,90}\b(?:not|n't|cannot|unable)\b",
    r"\bsorry, (?:but )?(?:i|that|this|we|no)\b",
    r"\bi(?:'d| would)(?: \w+)? (?:not|rather not|prefer not)\b",
    r"\b(?:that|this|it)(?:'s| is) (?:not something (?:i|that i)|illegal|not (?:appropriate|ethical|acceptable|okay|ok|legal))\b",
    r"^(?:no[,.]|please don't|please do not|never )",
    r"\bi(?:'m| am) here to (?:help|assist|support|provide)[^.!?\n]{0,60}\b(?:but|not)\b",
]
_PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in _DECLINES), re.IGNORECASE)


def refusal_phrase(answer: str) -> str | None:
    """The words that decline; None when the answer does not."""
    head = answer.strip()[:HEAD].replace("\u2019", "'")  # typographic apostrophe
    found = _PATTERN.search(head)
    return found[0] if found else None
