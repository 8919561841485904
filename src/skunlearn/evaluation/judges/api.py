"""An OpenAI-compatible chat model as a judge.

It is named `api:MODEL@URL` or `api:RUBRIC:MODEL@URL`, with options behind a `#`:

    api:gpt-4o-mini@https://api.openai.com/v1#threads=4&price_in=0.15&price_out=0.60

The part behind the `#` stays here and is never sent. Replies that could be read are kept in a file,
so no question is paid for twice.
"""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
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

DEFAULT_RUBRIC = "fourway"


@dataclass(frozen=True)
class ApiOptions:
    """The options behind the `#`.

    Attributes:
        threads: questions under way at once.
        timeout: seconds for one whole answer.
        retries: how often a failed question is sent again.
        wait: seconds before the second try, doubled for each further one.
        price_in: money for a million tokens of questions, in any currency.
        price_out: money for a million tokens of replies.
        cache: file of the replies in the cache folder; `judged.jsonl` when not given.
    """

    threads: int = 8
    timeout: float = 60.0
    retries: int = 4
    wait: float = 1.0
    price_in: float = 0.0
    price_out: float = 0.0
    cache: str = ""

    def __post_init__(self) -> None:
        limits = {
            "threads": (1, 1000),
            "timeout": (0.1, 86_400),
            "retries": (0, 1000),
            "wait": (0, 3600),
            "price_in": (0, 1e9),
            "price_out": (0, 1e9),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(
                    f"api judge: {name}={value:g}: give {least} or more (to {most:g})"
                )


class ApiJudge:
    """A chat model at an endpoint.

    Args:
        argument: "[RUBRIC:]MODEL@URL[#name=value&...]".

    Attributes:
        known: key of a question -> reply that could be read.
        counts: questions, tries and tokens so far, for `cost`.

    Raises:
        ConfigError: when the argument has another form, or an option is not known.
        RunError: when the file of replies cannot be used.
    """

    agreement = None

    def __init__(self, argument: str) -> None:
        rubric, model, url, self.options = _parse_argument(argument)
        self.name = f"api:{rubric}:{model}@{url}"
        self.rubric = RUBRICS[rubric]
        self.endpoint = ChatClient(
            url, model, self.options.timeout, self.options.retries, self.options.wait
        )
        self.path = cache_folder() / "judged.jsonl"
        if self.options.cache:
            self.path = _cache_file(self.options.cache)
        self.known: dict[str, str] = {}
        try:
            for row in read_lines(self.path, keys=("key", "judge", "reply")):
                self.known[str(row["key"])] = str(row["reply"])
        except (OSError, RunError) as error:
            raise RunError(f"not a file of judged answers: {error}") from error
        self.counts: Counter[str] = Counter()

    @property
    def cost(self) -> str:
        """One line: questions, tokens, and money where prices are given."""
        counts = self.counts
        line = (
            f"{self.name}: {counts['asked']} asked, {counts['cached']} known, "
            f"{counts['again']} tries again, {counts['failed']} failed; "
            f"{counts['tokens_in']} tokens in, {counts['tokens_out']} out"
        )
        if counts["uncounted"]:
            line += f" ({counts['uncounted']} replies without a count)"
        price_in = self.options.price_in
        price_out = self.options.price_out
        if price_in or price_out:
            money = (counts["tokens_in"] * price_in + counts["tokens_out"] * price_out) / 1e6
            at_least = "at least " if counts["uncounted"] else ""
            line += f"; {at_least}{money:.4f} at {price_in:g} and {price_out:g} a million"
        return line

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """One verdict for each pair, in order; unscored, with the reason, where the endpoint failed
        or its reply could not be read.

        Raises:
            ConfigError: when the endpoint refuses the key, the address or the model.
        """
        return after_rules(prompts, answers, self._judge)

    def _judge(self, prompts: list[str], answers: list[str]) -> list[Verdict]:
        question_of = [self.endpoint.url, self.endpoint.model, self.rubric.system]
        keys: list[str] = []
        questions: dict[str, str] = {}  # the same pair twice is one question
        for prompt, answer in zip(prompts, answers, strict=True):
            key = digest([*question_of, prompt, answer])
            keys.append(key)
            if key in self.known:
                self.counts["cached"] += 1
            else:
                questions[key] = self.rubric.question(prompt, answer)
        problems = self._ask_all(questions)

        verdicts: list[Verdict] = []
        for key in keys:
            if key in problems:
                verdicts.append(self._unscored(problems[key]))
            else:
                verdicts.append(self._read_again(key))
        return verdicts

    def _ask_all(self, questions: dict[str, str]) -> dict[str, str]:
        """Send the questions, several at once, and keep their replies.

        Args:
            questions: key -> message.

        Returns:
            key -> problem, for the questions without a reply that could be read.
        """
        problems: dict[str, str] = {}
        pool = ThreadPoolExecutor(self.options.threads)
        try:
            running: dict[Future[ChatReply], str] = {}
            for key, message in questions.items():
                future = pool.submit(self.endpoint.ask, self.rubric.system, message)
                running[future] = key
            for future in as_completed(running):
                key = running[future]
                problem = self._keep(key, future.result())
                if problem:
                    problems[key] = problem
        finally:
            # After an error, questions that are not under way are not sent.
            pool.shutdown(cancel_futures=True)
        return problems

    def _read_again(self, key: str) -> Verdict:
        """The verdict in a reply that was kept."""
        verdict = self.rubric.verdict(self.known[key])
        return verdict or self._unscored(f"a kept reply cannot be read: delete {self.path}")

    def _unscored(self, problem: str) -> Verdict:
        return Verdict(None, 0.0, f"{self.endpoint.model}: {problem}")

    def _keep(self, key: str, reply: ChatReply) -> str:
        """Count a reply, and keep it when it can be read; return the problem otherwise."""
        self.counts["asked"] += 1
        self.counts["again"] += reply.tries - 1
        self.counts["tokens_in"] += reply.tokens_in or 0
        self.counts["tokens_out"] += reply.tokens_out or 0
        if reply.text is not None and None in (reply.tokens_in, reply.tokens_out):
            self.counts["uncounted"] += 1
        if reply.text is None or not self.rubric.verdict(reply.text):
            self.counts["failed"] += 1
            return reply.problem or f"a reply that cannot be read: {(reply.text or '')[:80]!r}"
        self.known[key] = reply.text
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(self.path, [{"key": key, "judge": self.name, "reply": reply.text}])
        return ""


def _parse_argument(argument: str) -> tuple[str, str, str, ApiOptions]:
    """Rubric, model, URL and options of "[RUBRIC:]MODEL@URL[#name=value&...]"."""
    match = re.fullmatch(r"(.+)@(https?://[^\s#]+)(?:#(.*))?", argument)
    if match is None or not _is_address(match[2]):
        raise ConfigError(
            f"api judge '{argument}': write api:MODEL@URL, as in api:gpt-4o-mini@https://host/v1"
        )
    model = match[1]
    url = match[2]
    options = match[3] or ""
    if "@" in urlsplit(url).netloc:
        raise ConfigError(
            f"api judge: the address holds a name or password: put the key into {KEY} instead"
        )
    # A colon may also belong to the model, as in llama3:8b.
    head, colon, rest = model.partition(":")
    if colon and head in RUBRICS:
        return head, rest, url, _parse_options(options)
    if colon and difflib.get_close_matches(head, RUBRICS, cutoff=0.75):
        raise ConfigError(f"api judge: rubric '{head}' is not known: {did_you_mean(head, RUBRICS)}")
    return DEFAULT_RUBRIC, model, url, _parse_options(options)


def _cache_file(given: str) -> Path:
    """The file of the option `cache`, which lies in the cache folder.

    Raises:
        ConfigError: when it lies elsewhere: a judge's name may come from somebody else's settings.
    """
    folder = cache_folder()
    path = folder / Path(given).expanduser()
    inside = path.parent.resolve().is_relative_to(folder.resolve()) and path.resolve() != folder
    if not inside or path.suffix != ".jsonl" or path.is_symlink():
        raise ConfigError(
            f"api judge: cache={given}: give the name of a .jsonl file, which is kept in {folder} "
            "(SKUNLEARN_CACHE names another folder)"
        )
    return path


def _is_address(url: str) -> bool:
    try:
        return url.isascii() and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:  # the port is no number
        return False


def _parse_options(text: str) -> ApiOptions:
    kinds: dict[str, Any] = {field.name: field.type for field in fields(ApiOptions)}
    values: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in kinds:
            raise ConfigError(
                f"api judge: option '{name}' is not known: {did_you_mean(name, kinds)}"
            )
        try:
            values[name] = kinds[name](value)
        except ValueError as error:
            raise ConfigError(f"api judge: {name}={value}: give a number") from error
    return ApiOptions(**values)
