"""The rows of each training step, as a function of the seed and the step number alone."""

import random
from collections.abc import Iterable, Sequence

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.methods.base import Method, check_method
from skunlearn.models.lm import LM
from skunlearn.training.begun_answers import begun, with_begun
from skunlearn.training.sampler import Sampler

BENIGN_ROLES = ("retain", "lookalike")
FORGET_ROLES = {"forget", "mismatch", "unrelated", "refusal"}  # those that use forget prompts


class Rows:
    """The training rows as token ids, and the choice of rows for each step.

    Attributes:
        forget: prompts with the answers to forget.
        benign: the retain rows, followed by the look-alikes.
        first_lookalike: how many retain rows there are, which is where the look-alikes begin.
        refusals: the tokens of each built-in refusal.
        sampler: draws the row numbers.

    Args:
        lm: whose chat template and tokenizer encode the rows.
        data: its training split is used.
        method: chooses the roles and how many tokens are read.
        batch: rows of each set in a step.
        seed: of the order of rows.
    """

    def __init__(self, lm: LM, data: Data, method: Method, batch: int, seed: int = 0) -> None:
        check_method(method)
        self.length = length = data.options.max_length
        self.method = method
        train = data.train

        def encoded(examples: Iterable[Example]) -> list[Encoded]:
            return [lm.template.encode(example, length) for example in examples]

        self.forget = encoded(train.forget)
        benign = encoded((*train.retain, *train.lookalike))
        self.benign: list[Encoded] = []
        for row in with_begun(benign, method.begun_share, seed):
            self.benign.append(shortened(row, method.keep_tokens))
        self.first_lookalike = len(train.retain)
        self.refusals: list[tuple[int, ...]] = []
        for refusal in builtin_rows("refusals"):
            answer_ids = lm.template.answer_ids(refusal["answer"])
            self.refusals.append(answer_ids[: method.refusal_tokens])
        mixes = "mismatch" in method.roles or "unrelated" in method.roles
        keys = [example.key for example in train.forget]
        self.sampler = Sampler(keys, batch, method.num_mismatched if mixes else 0, seed)

    def at(self, step: int, roles: Sequence[str] | None = None) -> dict[str, list[Encoded]]:
        """The rows of a step by role, without roles that have none.

        Args:
            step: from 0.
            roles: those to take; all roles of the method by default.
        """
        by_role: dict[str, list[Encoded]] = {}
        for role in self.method.roles if roles is None else roles:
            rows = self._role_rows(role, step)
            if rows:
                by_role[role] = rows
        return by_role

    def _role_rows(self, role: str, step: int) -> list[Encoded]:
        """The rows that one role takes in a step."""
        rows: list[Encoded] = []
        match role:
            case "forget":
                for row in self.sampler.forget_rows(step):
                    rows.append(self.forget[row])
            case "mismatch":
                for row, answer in self.sampler.mismatch_rows(step):
                    rows.append(self._with_answer(row, self.forget[answer].answer_ids))
            case "unrelated":
                for row, answer in self.sampler.unrelated_rows(step, self.first_lookalike):
                    rows.append(self._with_answer(row, self.benign[answer].answer_ids))
            case "refusal":
                for row, answer in self.sampler.refusal_rows(step, len(self.refusals)):
                    rows.append(self._refusal(step, row, self.refusals[answer]))
            case "retain" | "lookalike":
                for row in self.benign_rows(role, step):
                    rows.append(self.benign[row])
            case _:
                raise KeyError(role)
        return rows

    def _with_answer(self, row: int, answer_ids: tuple[int, ...]) -> Encoded:
        """The prompt of a forget row with another answer, cut to the longest row allowed."""
        return self._joined(self.forget[row].prompt_ids, answer_ids)

    def _refusal(self, step: int, row: int, refusal_ids: tuple[int, ...]) -> Encoded:
        """The prompt of a forget row with a refusal, which may stand behind a begun answer."""
        draw = random.Random(f"{self.sampler.seed}/begun/{step}/{row}")
        prompt = self.forget[row]
        if draw.random() < self.method.begun_share:
            prompt = begun(prompt, draw)
        return self._joined(prompt.prompt_ids, refusal_ids)

    def _joined(self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...]) -> Encoded:
        return Encoded(prompt_ids, answer_ids[: self.length - len(prompt_ids)])

    def benign_rows(self, role: str, step: int) -> list[int]:
        """The numbers, in `benign`, of the rows that "retain" or "lookalike" takes in a step."""
        if role == "lookalike":
            first = self.first_lookalike
            n = len(self.benign) - self.first_lookalike
        else:
            first = 0
            n = self.first_lookalike
        drawn = self.sampler.rows(role, n, step, self.method.benign_per_forget)
        numbers: list[int] = []
        for row in drawn:
            numbers.append(first + row)
        return numbers

    def benign_rows_used(self, steps: int) -> set[int]:
        """The numbers, in `benign`, of all rows that any of so many steps takes."""
        used: set[int] = set()
        for role in self.method.roles:
            if role in BENIGN_ROLES:
                for step in range(steps):
                    used.update(self.benign_rows(role, step))
        return used

    def reference_rows(self, steps: int) -> list[Encoded]:
        """The distinct rows whose base predictions any of so many steps needs.

        Benign rows come first, in the order of `benign`: rows that are batched together influence
        each other's last bits, so the order must not depend on the steps.
        """
        distinct: dict[Encoded, None] = {}  # a set that keeps the order of insertion
        for step in range(steps):
            for rows in self.at(step, self.method.reference_roles).values():
                distinct.update(dict.fromkeys(rows))
        order = {row: number for number, row in enumerate(self.benign)}
        return sorted(distinct, key=lambda row: order.get(row, len(order)))

    def count_used(self, steps: int) -> dict[str, int]:
        """How many different rows so many steps take of the forget set and of the benign rows."""
        forget: set[int] = set()
        if not FORGET_ROLES.isdisjoint(self.method.roles):
            for step in range(steps):
                forget.update(self.sampler.forget_rows(step))
        return {"forget": len(forget), "retain": len(self.benign_rows_used(steps))}


def scored_tokens(rows: Sequence[Encoded]) -> int:
    """How many tokens of these rows are scored: those of their answers."""
    return sum(len(row.answer_ids) for row in rows)
