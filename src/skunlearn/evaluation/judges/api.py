"""Any OpenAI-compatible chat model as a judge: `api:MODEL@URL`, or `api:RUBRIC:MODEL@URL`, and
options behind a `#`.

    api:gpt-4o-mini@https://api.openai.com/v1#threads=4&price_in=0.15&price_out=0.60

What stands behind the `#` is ours and is never sent. Replies that could be read are kept on disk
and never paid twice.
"""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from skunlearn.evaluation.judges.base import Verdict
from skunlearn.evaluation.judges.chat_client import KEY, ChatClient, ChatReply
from skunlearn.evaluation.judges.degenerate import after_rules
from skunlearn.evaluation.judges.rubrics import RUBRICS
from skunlearn.utils.errors import ConfigError, RunError
from skunlearn.utils.files import append_lines, cache_folder, read_lines
from skunlearn.utils.hashing import digest
from skunlearn.utils.registry import did_you_mean

USUAL = "fourway"


@dataclass(frozen=True)
class ApiOptions:
    """What may stand behind the `#`.

    Attributes:
        threads: questions under way at once.
        timeout: seconds for one whole answer.
        retries: how often a failed question is asked again.
        wait: seconds before the second try, doubled for each further one.
        price_in: money for a million tokens of questions, in any currency.
        price_out: money for a million tokens of replies.
        cache: file of the replies; `judged.jsonl` in the cache folder when not given.
    """

    threads: int = 8
    timeout: float = 60.0
    retries: int = 4
    wait: float = 1.0
    price_in: float = 0.0
    price_out: float = 0.0
    cache: str = ""

    def __post_init__(self) -> None:
        for name, least in (
            ("threads", 1),
            ("timeout", 0.1),
            ("retries", 0),
            ("wait", 0),
            ("price_in", 0),
            ("price_out", 0),
        ):
            if not getattr(self, name) >= least:
                raise ConfigError(f"api judge: {name}={getattr(self, name)}: give {least} or more")


class ApiJudge:
    """A chat model behind an address.

    Args:
        argument: "[RUBRIC:]MODEL@URL[#name=value&...]".

    Raises:
        ConfigError: when it has not that form, or an option is not known.
        RunError: when the file of replies cannot be used.
    """

    agreement = None

    def __init__(self, argument: str) -> None:
        rubric, model, url, self.options = _split(argument)
        self.name = f"api:{rubric}:{model}@{url}"
        self.rubric = RUBRICS[rubric]
        self.endpoint = ChatClient(
            url, model, self.options.timeout, self.options.retries, self.options.wait
        )
        self.path = (
            Path(self.options.cache).expanduser()
            if self.options.cache
            else cache_folder() / "judged.jsonl"
        )
        try:
            self.known = {str(row["key"]): str(row["reply"]) for row in read_lines(self.path)}
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path}: not a file of judged answers ({error}): delete it"
            ) from error
        self.counts: Counter[str] = Counter()

    @property
    def cost(self) -> str:
        """One line: how much was asked, what it took, and what it cost where prices are given."""
        n, options = self.counts, self.options
        line = f"{self.name}: {n['asked']} asked, {n['cached']} known, {n['again']} tries again, {n['failed']} failed; "
        line += f"{n['tokens_in']} tokens in, {n['tokens_out']} out"
        if n["untold"]:
            line += f" ({n['untold']} replies without a count)"
        if options.price_in or options.price_out:
            money = (n["tokens_in"] * options.price_in + n["tokens_out"] * options.price_out) / 1e6
            line += (
                f"; {'at least ' if n['untold'] else ''}{money:.4f} at {options.price_in:g} and "
            )
            line += f"{options.price_out:g} a million"
        return line

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair, in order; None with the reason where the endpoint failed or
        made no sense.

        Raises:
            ConfigError: when the endpoint does not know the key, the address or the model.
        """
        return after_rules(prompts, answers, self._judge)

    def _judge(self, prompts: list[str], answers: list[str]) -> list[Verdict]:
        asked = [self.endpoint.url, self.endpoint.model, self.rubric.system]
        keys = [digest([*asked, *pair]) for pair in zip(prompts, answers, strict=True)]
        self.counts["cached"] += sum(key in self.known for key in keys)
        missing = {key: n for n, key in enumerate(keys) if key not in self.known}
        pool = ThreadPoolExecutor(self.options.threads)
        failed: dict[str, Verdict] = {}
        try:
            questions = {
                key: self.rubric.question(prompts[n], answers[n]) for key, n in missing.items()
            }
            running = {
                pool.submit(self.endpoint.ask, self.rubric.system, text): key
                for key, text in questions.items()
            }
            for future in as_completed(running):
                if problem := self._keep(running[future], future.result()):
                    failed[running[future]] = Verdict(
                        None, 0.0, f"{self.endpoint.model}: {problem}"
                    )
        finally:
            pool.shutdown(cancel_futures=True)
        return [failed.get(key) or self._known(key) for key in keys]

    def _known(self, key: str) -> Verdict:
        verdict = self.rubric.verdict(self.known[key])
        return verdict or Verdict(
            None, 0.0, f"{self.endpoint.model}: a kept reply cannot be read: delete {self.path}"
        )

    def _keep(self, key: str, outcome: ChatReply) -> str:
        """Count an outcome, and keep it where it can be read; else say why it cannot."""
        self.counts.update(asked=1, again=outcome.tries - 1)
        self.counts.update(tokens_in=outcome.tokens_in or 0, tokens_out=outcome.tokens_out or 0)
        self.counts["untold"] += outcome.text is not None and None in (
            outcome.tokens_in,
            outcome.tokens_out,
        )
        if outcome.text is None or not self.rubric.verdict(outcome.text):
            self.counts["failed"] += 1
            return outcome.problem or f"a reply that cannot be read: {(outcome.text or '')[:80]!r}"
        self.known[key] = outcome.text
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(self.path, [{"key": key, "judge": self.name, "reply": outcome.text}])
        return ""


def _split(argument: str) -> tuple[str, str, str, ApiOptions]:
    match = re.fullmatch(r"(.+)@(https?://[^\s#]+)(?:#(.*))?", argument)
    if match is None or not _is_address(match[2]):
        raise ConfigError(
            f"api judge '{argument}': write api:MODEL@URL, as in api:gpt-4o-mini@https://host/v1"
        )
    model, url, options = match[1], match[2], match[3] or ""
    if "@" in urlsplit(url).netloc:
        raise ConfigError(
            f"api judge: the address holds a name or password: put the key into {KEY} instead"
        )
    head, colon, rest = model.partition(":")
    if colon and head in RUBRICS:
        return head, rest, url, _options(options)
    if colon and difflib.get_close_matches(
        head, RUBRICS, cutoff=0.75
    ):  # else it belongs to the model, as in llama3:8b
        raise ConfigError(f"api judge: rubric '{head}' is not known: {did_you_mean(head, RUBRICS)}")
    return USUAL, model, url, _options(options)


def _is_address(url: str) -> bool:
    try:
        return url.isascii() and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:  # a port that is no number
        return False


def _options(text: str) -> ApiOptions:
    kinds: dict[str, Any] = {field.name: field.type for field in fields(ApiOptions)}
    given: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in kinds:
            raise ConfigError(
                f"api judge: option '{name}' is not known: {did_you_mean(name, kinds)}"
            )
        try:
            given[name] = kinds[name](value)
        except ValueError as error:
            raise ConfigError(f"api judge: {name}={value}: give a number") from error
    return ApiOptions(**given)
