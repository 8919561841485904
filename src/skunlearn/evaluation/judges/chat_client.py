"""A client of one OpenAI-compatible chat endpoint, with retries.

What can go wrong has three outcomes. A fault of the line or an overloaded server (`_LineError`) is
worth another try. An answer that would be the same again (`_RefusedError`) leaves the question
without a reply. A wrong key, address or model (`ConfigError`) ends the work.

The key comes from `SKUNLEARN_API_KEY` and from nowhere else. It goes into one header, to the
address that was given. Redirects are not followed, and wherever a server sends the key back, it is
replaced by asterisks.
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
LONGEST_WAIT = 120.0  # seconds; a server that asks for more gets no further try
LARGEST_ANSWER = 1 << 20  # bytes
CHUNK = 1 << 16  # bytes that are read at once
ANOTHER_TRY = (408, 409, 425, 429)  # besides 500 and above
CONFIGURATION = (401, 404)  # wrong key, address or model


@dataclass(frozen=True)
class ChatReply:
    """The outcome of one question.

    Attributes:
        text: the model's reply; None when there is none.
        problem: why there is none.
        tokens_in: tokens of the question, as the endpoint counts; None when it does not say.
        tokens_out: tokens of the reply.
        tries: how often the question was sent.
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
    """Worth another try, after `wait` seconds where the server asks for that."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class _RefusedError(Exception):
    """The endpoint answers, and another try would get the same answer."""


class ChatClient:
    """A chat endpoint.

    Args:
        url: up to and with the version, as in "https://host/v1".
        model: its name at that endpoint.
        timeout: seconds for one whole answer.
        retries: how often a failed question is sent again.
        wait: seconds before the second try. It doubles for each further try, and is shortened at
            random by up to a half, so that parallel questions do not all come back at once.

    Attributes:
        settings: of the request; those that the endpoint does not accept are removed on the way.

    Raises:
        ConfigError: when the key cannot be sent in a header.
    """

    def __init__(self, url: str, model: str, timeout: float, retries: int, wait: float) -> None:
        self.url = url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self.model = model
        self.timeout = timeout
        self.retries = retries
        self.wait = wait
        self.settings: dict[str, Any] = {"temperature": 0, "max_tokens": 400}
        self._key = os.environ.get(KEY, "").strip()
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise ConfigError(f"{KEY} holds characters that no key has: set it again")
        self._open = urllib.request.build_opener(_NoRedirect).open

    def ask(self, system: str, user: str) -> ChatReply:
        """Send one question; safe to call from several threads.

        Args:
            system: the instructions.
            user: the message.

        Raises:
            ConfigError: when the endpoint refuses the key, the address or the model.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        problem = ""
        tries = 0
        while tries <= self.retries:
            tries += 1
            try:
                return self._parse(self._post(messages), tries)
            except _RefusedError as error:
                return ChatReply(None, self.blank(str(error)), tries=tries)
            except _LineError as error:
                problem = self.blank(str(error))
                if error.wait is not None and error.wait > LONGEST_WAIT:
                    problem = f"{problem}, asks to wait {error.wait:.0f} s"
                    return ChatReply(None, problem, tries=tries)
                if tries <= self.retries:
                    time.sleep(self._pause(tries, error.wait))
        return ChatReply(None, f"{problem}, {tries} times", tries=tries)

    def blank(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, "***") if self._key else text

    def _pause(self, tries: int, requested: float | None) -> float:
        """Seconds before the next try: exponential back-off with jitter.

        Args:
            tries: so far.
            requested: seconds that the server asks for. The pause is never shorter, and half of the
                back-off is added, so that parallel questions do not all come back at once.
        """
        pause = min(LONGEST_WAIT, self.wait * 2 ** (tries - 1)) * random.uniform(0.5, 1)
        if requested is None:
            return pause
        return requested + pause * 0.5

    def _post(self, messages: list[dict[str, str]]) -> bytes:
        """The body of the answer. Where the endpoint does not accept a setting, the question is
        sent again without it.

        Raises:
            ConfigError: see `ask`.
            _LineError: worth another try.
            _RefusedError: not worth one.
        """
        while True:
            settings = dict(self.settings)  # another thread may remove one meanwhile
            body = json.dumps({"model": self.model, "messages": messages} | settings).encode()
            headers = {"Content-Type": "application/json", "User-Agent": "skunlearn"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            request = urllib.request.Request(self.url, body, headers, method="POST")
            deadline = time.monotonic() + self.timeout
            try:
                with self._open(request, timeout=self.timeout) as response:
                    return _read_body(response, deadline)
            except urllib.error.HTTPError as error:
                self._handle_status(error, settings)
            except (OSError, http.client.HTTPException) as error:
                # Refused, reset, timed out or broken off.
                raise _LineError(f"no answer ({_reason(error)})") from error

    def _handle_status(self, error: urllib.error.HTTPError, settings: dict[str, Any]) -> None:
        """Raise what a status of 300 or more means; return when a setting was removed.

        Args:
            error: the answer of the endpoint.
            settings: of the request.
        """
        try:
            text = " ".join(error.read(2000).decode("utf-8", "replace").split())
        except (OSError, http.client.HTTPException):
            text = ""
        if error.code in CONFIGURATION:
            message = (
                f"{self.url} answers {error.code} for model '{self.model}': "
                f"check {KEY}, address and model"
            )
            raise ConfigError(self.blank(message))
        if error.code in ANOTHER_TRY or error.code >= 500:
            raise _LineError(f"status {error.code}", _seconds(error.headers.get("Retry-After")))
        # Reasoning models accept neither a temperature nor max_tokens, and name it in their answer.
        named = [name for name in settings if name in text]
        if error.code != 400 or not named:
            raise _RefusedError(f"status {error.code}: {text[:120]}")
        for name in named:
            self.settings.pop(name, None)

    def _parse(self, body: bytes, tries: int) -> ChatReply:
        """The reply in the body of an answer.

        Raises:
            _LineError: when the body is not JSON.
        """
        try:
            tree = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _LineError("an answer that is not JSON") from error
        try:
            choice = tree["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            return ChatReply(None, "an answer that is no chat completion", tries=tries)
        tokens_in = _count(tree, "prompt_tokens")
        tokens_out = _count(tree, "completion_tokens")
        if not isinstance(text, str) or not text.strip():
            problem = f"an empty reply (finish_reason {choice.get('finish_reason')})"
            return ChatReply(None, problem, tokens_in, tokens_out, tries)
        # Half of a surrogate pair is valid JSON, but cannot be written to a file.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return ChatReply(self.blank(text), "", tokens_in, tokens_out, tries)


def _read_body(response: Any, deadline: float) -> bytes:
    """The body of an answer, read until a deadline.

    A socket's own timeout starts anew with every byte, so it does not bound the whole answer.

    Raises:
        TimeoutError: after the deadline.
        http.client.IncompleteRead: when less came than Content-Length says.
        _RefusedError: when the answer is too large.
    """
    body = b""
    while True:
        part = response.read1(CHUNK)
        if not part:
            break
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
        if len(body) > LARGEST_ANSWER:
            raise _RefusedError(f"an answer of more than {LARGEST_ANSWER >> 20} MB")
    if response.length:  # what is still due
        raise http.client.IncompleteRead(b"", response.length)
    return body


def _count(tree: dict[str, Any], name: str) -> int | None:
    """A token count of the answer; None when the endpoint does not give it."""
    usage = tree.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _seconds(value: str | None) -> float | None:
    """The wait in a Retry-After header, seconds; None when it is neither a number nor a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """Why there is no answer, in words."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, http.client.IncompleteRead):
        return "it broke off"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
