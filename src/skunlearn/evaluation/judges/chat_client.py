"""One OpenAI-compatible chat endpoint: a question, its answer, and what to do when the line is bad.

The key comes from `SKUNLEARN_API_KEY` and from nowhere else. It goes into one header, to the
address that was given: redirects are not followed, and wherever a server sends the key back, it is
blanked.
"""

import email.utils
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from skunlearn.utils.errors import ConfigError

KEY = "SKUNLEARN_API_KEY"
LONGEST_WAIT = 120.0  # seconds; who asks for more is not waited for
LARGEST_ANSWER = 1 << 20  # bytes


@dataclass(frozen=True)
class ChatReply:
    """What became of one question.

    Attributes:
        text: the model's reply; None when there is none.
        problem: why there is none.
        tokens_in: of the question, as the endpoint counts; None when it does not tell.
        tokens_out: of the reply.
        tries: how often it was asked.
    """

    text: str | None
    problem: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tries: int = 1


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _LineError(Exception):
    """Worth another try, after `wait` seconds where the server names them."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class _RefusedError(Exception):
    """The endpoint answers, and another try would get the same answer."""


class ChatClient:
    """A chat endpoint.

    Args:
        url: up to and with the version, as in "https://host/v1".
        model: the name it goes by there.
        timeout: seconds for one whole answer.
        retries: how often a failed question is asked again.
        wait: seconds before the second try; doubled for each further one, and shortened at random
            by up to a half.

    Raises:
        ConfigError: when the key cannot be sent.
    """

    def __init__(self, url: str, model: str, timeout: float, retries: int, wait: float) -> None:
        self.url = url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self.model, self.timeout, self.retries, self.wait = model, timeout, retries, wait
        self.settings: dict[str, Any] = {"temperature": 0, "max_tokens": 400}
        self._key = os.environ.get(KEY, "").strip()
        if not (self._key.isascii() and (self._key.isprintable() or not self._key)):
            raise ConfigError(f"{KEY} holds characters that no key has: set it again")
        self._open = urllib.request.build_opener(_NoRedirect).open

    def ask(self, system: str, user: str) -> ChatReply:
        """One question; safe to call from several threads.

        Raises:
            ConfigError: when the endpoint does not know the key, the address or the model.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        problem, tries = "", 0
        while tries <= self.retries:
            tries += 1
            try:
                return self._read(self._post(messages), tries)
            except _RefusedError as error:
                return ChatReply(None, self.blank(str(error)), tries=tries)
            except _LineError as error:
                problem = self.blank(str(error))
                if error.wait is not None and error.wait > LONGEST_WAIT:
                    return ChatReply(
                        None, f"{problem}, asks to wait {error.wait:.0f} s", tries=tries
                    )
                if tries <= self.retries:
                    time.sleep(self._pause(tries, error.wait))
        return ChatReply(None, f"{problem}, {tries} times", tries=tries)

    def blank(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, "***") if self._key else text

    def _pause(self, tries: int, asked: float | None) -> float:
        pause = min(LONGEST_WAIT, self.wait * 2 ** (tries - 1)) * random.uniform(0.5, 1)
        return (
            pause if asked is None else asked + pause * 0.5
        )  # never sooner than asked, nor all at once

    def _post(self, messages: list[dict[str, str]]) -> bytes:
        settings = dict(self.settings)
        body = json.dumps({"model": self.model, "messages": messages} | settings).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "skunlearn"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, body, headers, method="POST")
        end = time.monotonic() + self.timeout
        try:
            with self._open(request, timeout=self.timeout) as response:
                return _whole(response, end)
        except urllib.error.HTTPError as error:
            self._explain(error, settings)
        except (
            OSError,
            http.client.HTTPException,
        ) as error:  # refused, reset, timed out, broken off
            raise _LineError(f"no answer ({_words(error)})") from error
        return self._post(messages)  # without the setting that the endpoint does not take

    def _explain(self, error: urllib.error.HTTPError, settings: dict[str, Any]) -> None:
        """Raise what the status means; returns where the same question may be asked at once, with
        fewer settings."""
        try:
            text = " ".join(error.read(2000).decode("utf-8", "replace").split())
        except (OSError, http.client.HTTPException):
            text = ""
        if error.code in (401, 404):
            raise ConfigError(
                self.blank(
                    f"{self.url} answers {error.code} for model '{self.model}': check {KEY}, address and model"
                )
            )
        if error.code in (408, 409, 425, 429) or error.code >= 500:
            raise _LineError(f"status {error.code}", _seconds(error.headers.get("Retry-After")))
        named = [name for name in settings if name in text] if error.code == 400 else []
        if not named:
            raise _RefusedError(f"status {error.code}: {text[:120]}")
        for name in named:  # reasoning models take neither a temperature nor max_tokens
            self.settings.pop(name, None)

    def _read(self, body: bytes, tries: int) -> ChatReply:
        try:
            tree = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _LineError("an answer that is not JSON") from error
        try:
            choice = tree["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            return ChatReply(None, "an answer that is no chat completion", tries=tries)
        tokens_in, tokens_out = (
            _count(tree, name) for name in ("prompt_tokens", "completion_tokens")
        )
        if not isinstance(text, str) or not text.strip():
            problem = f"an empty reply (finish_reason {choice.get('finish_reason')})"
            return ChatReply(None, problem, tokens_in, tokens_out, tries)
        text = text.encode("utf-8", "replace").decode(
            "utf-8"
        )  # half of a surrogate pair could not be kept
        return ChatReply(self.blank(text), "", tokens_in, tokens_out, tries)


def _whole(response: Any, end: float) -> bytes:
    """The body, within the time: a socket's own timeout starts anew with every byte."""
    parts: list[bytes] = []
    while part := response.read1(1 << 16):
        parts.append(part)
        if time.monotonic() > end:
            raise TimeoutError("timed out")
        if sum(map(len, parts)) > LARGEST_ANSWER:
            raise _RefusedError(f"an answer of more than {LARGEST_ANSWER >> 20} MB")
    if response.length:  # what Content-Length promised and did not come
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _count(tree: dict[str, Any], name: str) -> int | None:
    usage = tree.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _seconds(value: str | None) -> float | None:
    """Retry-After: seconds, or a date; None when it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, http.client.IncompleteRead):
        return "it broke off"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
