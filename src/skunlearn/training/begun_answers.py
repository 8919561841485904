"""Rows whose answer has begun: its first tokens stand in the prompt, where they are not scored.

An attacker may begin a harmful answer himself (prefill), and an answer may begin harmlessly. A
model that was trained on whole answers alone goes on.
"""

import random
from collections.abc import Sequence

from skunlearn.data.chat_template import Encoded

MOST_BEGUN = 12  # tokens of an answer that is begun


def with_begun(rows: Sequence[Encoded], share: float, seed: int) -> list[Encoded]:
    """The rows in their order, a share of them with a begun answer.

    Args:
        rows: prompts with answers.
        share: the probability of a row to be changed, 0..1.
        seed: chooses which.
    """
    found: list[Encoded] = []
    for number, row in enumerate(rows):
        draw = random.Random(f"{seed}/begun/{number}")
        found.append(begun(row, draw) if draw.random() < share else row)
    return found


def begun(row: Encoded, draw: random.Random) -> Encoded:
    """The row with the first tokens of its answer in the prompt, where they are not scored.

    At least one token is left to score; a row whose answer has only one stays as it is.

    Args:
        row: prompt and answer.
        draw: chooses how many tokens, 1 to `MOST_BEGUN`.
    """
    most = min(MOST_BEGUN, len(row.answer_ids) - 1)
    if most < 1:
        return row
    tokens = draw.randint(1, most)
    prompt_ids = row.prompt_ids + row.answer_ids[:tokens]
    return Encoded(prompt_ids, row.answer_ids[tokens:], row.cut)
