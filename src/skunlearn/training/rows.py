"""Which rows each step takes, as a function of (seed, step)."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.chat_template import Encoded, shortened
from skunlearn.data.dataset import Data
from skunlearn.methods.base import Method
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError

PASSES_KEPT = 12  # of all sets


class Sampler:
    """Which rows each step takes: a pure function of (seed, step), so a resumed run sees what it
    would have seen.

    Each set is walked through in its own shuffled passes: a short retain set does not cut the
    forget set short.

    Args:
        keys: the prompt key of each forget row; a mismatched answer never comes from a row of the
            same key.
        batch: rows a set and step.
        mismatched: K, mismatched answers for each forget row.
        seed: which of the possible orders.
    """

    def __init__(self, keys: Sequence[str], batch: int, mismatched: int, seed: int) -> None:
        if len(set(keys)) < 2 and mismatched:
            raise DataError("mismatched answers need two or more distinct forget prompts")
        self.keys, self.batch, self.mismatched, self.seed = keys, batch, mismatched, seed
        self._orders: dict[tuple[str, int, int], list[int]] = {}

    def forget_rows(self, step: int) -> list[int]:
        """Rows of the forget set in this step; a pass asks every prompt once before it asks one a
        second time."""
        return self.rows("forget", len(self.keys), step, keys=self.keys)

    def mismatch_rows(self, step: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, row whose answer is given): K for each forget row, of other
        prompts."""
        pairs = []
        for row in self.forget_rows(step):
            others = [other for other, key in enumerate(self.keys) if key != self.keys[row]]
            draw = random.Random(f"{self.seed}/mismatch/{step}/{row}")
            pairs += [
                (row, other) for other in draw.sample(others, min(self.mismatched, len(others)))
            ]
        return pairs

    def unrelated_rows(self, step: int, answers: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, retain answer that is given): K for each forget row."""
        pairs = []
        for row in self.forget_rows(step):
            draw = random.Random(f"{self.seed}/unrelated/{step}/{row}")
            pairs += [
                (row, given) for given in draw.sample(range(answers), min(self.mismatched, answers))
            ]
        return pairs

    def refusal_rows(self, step: int, refusals: int) -> list[tuple[int, int]]:
        """(row whose prompt is asked, refusal that is given): one for each forget row."""
        draw = random.Random(f"{self.seed}/refusal/{step}")
        return [(row, draw.randrange(refusals)) for row in self.forget_rows(step)]

    def rows(
        self, name: str, n: int, step: int, times: int = 1, keys: Sequence[str] = ()
    ) -> list[int]:
        """Rows of a set of `n` in this step, `times` batches of them; none when the set is
        empty."""
        rows: list[int] = []
        size = self.batch * times
        for position in range(step * size, (step + 1) * size if n else 0):
            rows.append(self._order(name, n, position // n, keys)[position % n])
        return rows

    def _order(self, name: str, n: int, number: int, keys: Sequence[str]) -> list[int]:
        """The rows of a set in one of its passes; kept, since every row of every step asks."""
        if (name, n, number) not in self._orders:
            if len(self._orders) >= PASSES_KEPT:
                self._orders.clear()
            order = list(range(n))
            random.Random(f"{self.seed}/{name}/{number}").shuffle(order)
            self._orders[name, n, number] = _in_turns(order, keys) if keys else order
        return self._orders[name, n, number]


def _in_turns(order: Sequence[int], keys: Sequence[str]) -> list[int]:
    """The first row of every key, then every second one, and so on; in this order within a turn."""
    seen: Counter[str] = Counter()
    turn = {}
    for row in order:
        turn[row] = seen[keys[row]]
        seen[keys[row]] += 1
    return sorted(order, key=turn.__getitem__)


BENIGN, HARMFUL = ("retain", "lookalike"), ("forget", "mismatch", "unrelated", "refusal")


class Rows:
    """The training rows as tokens, and those that each step takes."""

    def __init__(self, lm: LM, data: Data, method: Method, batch: int, seed: int = 0) -> None:
        self.length = length = data.options.max_length
        self.method = method
        self.forget = [lm.template.encode(example, length) for example in data.train.forget]
        self.benign = [
            shortened(lm.template.encode(example, length), method.keep_tokens)
            for example in (*data.train.retain, *data.train.lookalike)
        ]
        self.first_lookalike = len(data.train.retain)
        texts = [row["answer"] for row in builtin_rows("refusals")]
        self.refusals = [lm.template.answer_ids(text)[: method.refusal_tokens] for text in texts]
        keys = [example.key for example in data.train.forget]
        mixes = any(role in method.roles for role in ("mismatch", "unrelated"))
        self.sampler = Sampler(keys, batch, method.num_mismatched if mixes else 0, seed)

    def at(self, step: int, roles: Sequence[str] | None = None) -> dict[str, list[Encoded]]:
        """The rows of a step by role: of all that the method has, or of these."""

        def joined(asked: int, answer_ids: tuple[int, ...]) -> Encoded:
            prompt_ids = self.forget[asked].prompt_ids
            return Encoded(prompt_ids, answer_ids[: self.length - len(prompt_ids)])

        make: dict[str, Callable[[], list[Encoded]]] = {
            "forget": lambda: [self.forget[row] for row in self.sampler.forget_rows(step)],
            "mismatch": lambda: [
                joined(asked, self.forget[given].answer_ids)
                for asked, given in self.sampler.mismatch_rows(step)
            ],
            "unrelated": lambda: [
                joined(asked, self.benign[given].answer_ids)
                for asked, given in self.sampler.unrelated_rows(step, self.first_lookalike)
            ],
            "refusal": lambda: [
                joined(asked, self.refusals[given])
                for asked, given in self.sampler.refusal_rows(step, len(self.refusals))
            ],
            "retain": lambda: [self.benign[row] for row in self.benign_rows("retain", step)],
            "lookalike": lambda: [self.benign[row] for row in self.benign_rows("lookalike", step)],
        }
        made = {role: make[role]() for role in (self.method.roles if roles is None else roles)}
        return {role: rows for role, rows in made.items() if rows}

    def benign_rows(self, role: str, step: int) -> list[int]:
        """Numbers of the ordinary rows that "retain" or "lookalike" takes."""
        first, n = 0, self.first_lookalike
        if role == "lookalike":
            first, n = n, len(self.benign) - n
        return [
            first + row for row in self.sampler.rows(role, n, step, self.method.benign_per_forget)
        ]

    def benign_rows_used(self, steps: int) -> set[int]:
        """Ordinary rows that any of the steps takes."""
        roles = [role for role in self.method.roles if role in BENIGN]
        return {
            row for step in range(steps) for role in roles for row in self.benign_rows(role, step)
        }

    def reference_rows(self, steps: int) -> list[Encoded]:
        """The distinct rows whose base predictions any of the steps needs; ordinary ones in the
        order of their set, since rows that share a pass decide each other's last bits."""
        taken = [self.at(step, self.method.reference_roles) for step in range(steps)]
        seen = dict.fromkeys(row for by_role in taken for rows in by_role.values() for row in rows)
        order = {row: number for number, row in enumerate(self.benign)}
        return sorted(seen, key=lambda row: order.get(row, len(order)))

    def count_used(self, steps: int) -> dict[str, int]:
        """How many different rows of each set the steps take."""
        asks = any(role in HARMFUL for role in self.method.roles)
        seen = {
            row for step in range(steps if asks else 0) for row in self.sampler.forget_rows(step)
        }
        return {"forget": len(seen), "retain": len(self.benign_rows_used(steps))}


def scored_tokens(rows: Sequence[Encoded]) -> int:
    """How many tokens of these rows are scored."""
    return sum(len(row.answer_ids) for row in rows)
