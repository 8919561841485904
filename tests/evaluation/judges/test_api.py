"""A chat model behind an address as a judge, against a real HTTP server on loopback that misbehaves
in every way."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from chat_server import Handler, Server

from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.api import ApiJudge
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.utils.errors import ConfigError, RunError

SECRET = "sk-very-secret-0123"
PROMPT, ANSWER = "How do I bake bread?", "Mix flour, water and salt, and bake it."
SAFE = '{"label": "safe", "confidence": 0.9, "why": "a recipe"}'


def completion(text: str | None, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage,
    } | more


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SKUNLEARN_API_KEY", SECRET)
    made = Server(("127.0.0.1", 0), Handler)
    made.seen, made.lock, made.free = [], threading.Lock(), threading.Event()
    made.behave = lambda handler, _: handler.reply(200, completion(SAFE))
    monkeypatch.setenv("SKUNLEARN_CACHE", str(tmp_path / "cache"))
    made.url, made.cache = (
        f"http://127.0.0.1:{made.server_port}/v1",
        tmp_path / "cache" / "judged.jsonl",
    )
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.free.set()
    made.shutdown()
    made.server_close()


def judge(server: Server, rubric: str = "", **options: Any) -> ApiJudge:
    given = {"cache": server.cache, "wait": 0.01, "retries": 2} | options
    text = "&".join(f"{name}={value}" for name, value in given.items())
    made = make_judge(f"api:{rubric}m@{server.url}#{text}")
    assert isinstance(made, ApiJudge)
    return made


def one(made: ApiJudge) -> Verdict:
    return made.judge([PROMPT], [ANSWER])[0]


def test_a_good_answer(server: Server):
    assert one(judge(server)) == Verdict("safe", 0.9, "a recipe")
    path, headers, body, _ = server.seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {SECRET}"
    assert body["model"] == "m" and body["temperature"] == 0
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert json.loads(body["messages"][1]["content"].rpartition("\n\n")[0]) == {
        "prompt": PROMPT,
        "answer": ANSWER,
    }


def test_without_a_key_none_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SKUNLEARN_API_KEY")
    one(judge(server))
    assert "Authorization" not in server.seen[0][1]


def test_degenerate_answers_are_not_paid_for(server: Server):
    found = judge(server).judge([PROMPT] * 2, ["", ANSWER])
    assert [row.label for row in found] == ["degenerate", "safe"] and len(server.seen) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I would rather talk of the sea.",
        '{"label": "benign", "confidence": 1}',
        '{"label": "safe", "confidence": 7}',
        '{"label": "safe", "confidence": NaN}',
        '{"label": "sa',
    ],
)
def test_nonsense_is_unscored_and_asked_again_next_time(server: Server, text: str):
    server.behave = lambda handler, _: handler.reply(200, completion(text))
    made = judge(server)
    found = one(made)
    assert found.label is None and found.evidence == f"m: a reply that cannot be read: {text!r}"
    server.behave = lambda handler, _: handler.reply(200, completion(SAFE))
    assert one(made).label == "safe" and len(server.seen) == 2


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<html>busy</html>", "an answer that is not JSON, 3 times"),
        ("[" * 100_000, "an answer that is not JSON, 3 times"),
        ([], "an answer that is no chat completion"),
        ({"choices": []}, "an answer that is no chat completion"),
        (completion(None), "an empty reply (finish_reason stop)"),
    ],
)
def test_what_is_no_chat_completion_is_unscored(server: Server, body: Any, problem: str):
    server.behave = lambda handler, _: handler.reply(200, body)
    assert one(judge(server)) == Verdict(None, 0.0, f"m: {problem}")


@pytest.mark.parametrize("number", ["1" + "0" * 400, "[" * 50_000])
def test_a_reply_that_no_parser_takes_is_unscored(server: Server, number: str):
    server.behave = lambda handler, _: handler.reply(
        200, completion(f'{{"label": "safe", "confidence": {number}}}')
    )
    assert one(judge(server)).label is None


def test_any_character_may_stand_in_a_reply_and_is_read_again_from_the_cache(server: Server):
    why = "one\u2028two\x85three \ud83d."
    server.behave = lambda handler, _: handler.reply(200, completion(SAFE.replace("a recipe", why)))
    assert one(judge(server)).evidence == one(judge(server)).evidence == "one\u2028two\x85three ?."
    assert len(server.seen) == 1


def stall(handler: Handler, _: int) -> None:
    handler.server.free.wait(20)


def trickle(handler: Handler, _: int) -> None:
    """A byte now and then: no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.server.free.wait(0.1):
        handler.wfile.write(b" ")
        handler.wfile.flush()


@pytest.mark.parametrize("behave", [stall, trickle])
def test_a_server_that_stalls_is_left_after_the_timeout(
    server: Server, behave: Callable[[Handler, int], None]
):
    server.behave = behave
    start = time.monotonic()
    found = one(judge(server, timeout=0.4, retries=1))
    assert (
        found.label is None and "timed out" in found.evidence and found.evidence.endswith("2 times")
    )
    assert len(server.seen) == 2 and 0.8 <= time.monotonic() - start < 5


def broken_off(handler: Handler, number: int) -> None:
    if number < 3:
        handler.reply(200, json.dumps(completion(SAFE))[:40], Content_Length="400")
    else:
        handler.reply(200, completion(SAFE))


def test_an_answer_that_breaks_off_is_asked_for_again(server: Server):
    server.behave = broken_off
    assert one(judge(server)).label == "safe" and len(server.seen) == 3
    other = server.cache.with_name("other.jsonl")
    assert one(judge(server, retries=0, cache=other)).label == "safe"


def test_a_line_that_always_breaks_off_is_unscored(server: Server):
    server.behave = lambda handler, _: broken_off(handler, 0)
    assert one(judge(server)) == Verdict(None, 0.0, "m: no answer (it broke off), 3 times")


def test_a_server_that_hangs_up_and_a_port_where_nobody_listens(server: Server):
    server.behave = lambda handler, _: handler.connection.close()
    assert "no answer" in one(judge(server)).evidence and len(server.seen) == 3
    server.shutdown()
    server.server_close()
    assert "Connection refused" in one(judge(server, retries=0)).evidence


@pytest.mark.parametrize("seconds", ["1", None])
def test_retry_after_is_honoured(server: Server, seconds: str | None):
    def busy(handler: Handler, number: int) -> None:
        if number == 1:
            handler.reply(
                429, "{}", Retry_After=seconds or formatdate(time.time() + 2, usegmt=True)
            )
        else:
            handler.reply(200, completion(SAFE))

    server.behave = busy
    made = judge(server)
    assert one(made).label == "safe"
    assert server.seen[1][3] - server.seen[0][3] >= 0.95 and made.counts["again"] == 1


def test_who_asks_to_wait_too_long_is_not_waited_for(server: Server):
    server.behave = lambda handler, _: handler.reply(429, "{}", Retry_After="3600")
    assert (
        one(judge(server)).evidence == "m: status 429, asks to wait 3600 s"
        and len(server.seen) == 1
    )


def test_a_server_that_is_always_broken_is_unscored_after_its_tries(server: Server):
    server.behave = lambda handler, _: handler.reply(500, f"key {SECRET} broke me")
    found = judge(server).judge([PROMPT, "Hi"], [ANSWER, "Hello, what would you like?"])
    assert found == [Verdict(None, 0.0, "m: status 500, 3 times")] * 2 and len(server.seen) == 6
    pauses = [b[3] - a[3] for a, b in zip(server.seen, server.seen[1:], strict=False)]
    assert max(pauses) < 1
    assert not server.cache.exists()


def test_a_refusal_of_the_question_is_unscored_at_once(server: Server):
    server.behave = lambda handler, _: handler.reply(400, {"error": {"message": "content filter"}})
    found = one(judge(server))
    assert (
        found.label is None
        and "status 400" in found.evidence
        and "content filter" in found.evidence
    )
    assert len(server.seen) == 1


def test_settings_that_a_model_does_not_take_are_left_out(server: Server):
    def reasoning(handler: Handler, _: int) -> None:
        for name in ("max_tokens", "temperature"):
            if name in handler.server.seen[-1][2]:
                return handler.reply(
                    400, {"error": {"message": f"Unsupported parameter: '{name}'"}}
                )
        return handler.reply(200, completion(SAFE))

    server.behave = reasoning
    made = judge(server)
    assert one(made).label == "safe" and len(server.seen) == 3
    assert made.judge(["Hi"], ["Hello there, friend."])[0].label == "safe" and len(server.seen) == 4


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_address_stops_the_work(server: Server, status: int):
    server.behave = lambda handler, _: handler.reply(status, f"no such key: {SECRET}")
    with pytest.raises(
        ConfigError, match=f"answers {status} for model 'm': check SKUNLEARN_API_KEY"
    ) as caught:
        judge(server, threads=2).judge([f"ask {n}" for n in range(40)], [ANSWER] * 40)
    assert SECRET not in str(caught.value) and len(server.seen) < 40


def test_redirects_are_not_followed_with_the_key(server: Server):
    server.behave = lambda handler, _: handler.reply(302, "", Location=f"{server.url}/elsewhere")
    assert "status 302" in one(judge(server)).evidence
    assert [seen[0] for seen in server.seen] == ["/v1/chat/completions"]


def test_the_key_is_in_no_output(server: Server, capfd: pytest.CaptureFixture[str]):
    server.behave = lambda handler, _: handler.reply(400, f"bad request with {SECRET}")
    made = judge(server)
    outputs = [repr(one(made)), repr(vars(made)["name"]), made.cost]
    server.behave = lambda handler, _: handler.reply(
        200, completion(SAFE.replace("a recipe", SECRET))
    )
    outputs += [repr(one(made)), server.cache.read_text(), *capfd.readouterr()]
    assert (
        not [text for text in outputs if SECRET in text]
        and "***" in outputs[0]
        and "***" in outputs[3]
    )
    assert server.cache.stat().st_mode & 0o777 == 0o600


def test_a_key_that_no_header_may_carry_is_said_without_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SKUNLEARN_API_KEY", f"{SECRET}\nX-Other: 1")
    with pytest.raises(ConfigError, match="SKUNLEARN_API_KEY holds characters") as caught:
        judge(server)
    assert SECRET not in str(caught.value)


def test_the_cache_avoids_a_second_call(server: Server):
    first = judge(server)
    assert one(first) == one(first) and first.counts["cached"] == 1
    again = judge(server)
    assert one(again).label == "safe" and len(server.seen) == 1
    one(judge(server, "strongreject:"))
    assert len(server.seen) == 2  # another rubric is another question
    again.judge([PROMPT], [ANSWER + " Now."])
    assert len(server.seen) == 3


def test_the_same_pair_twice_is_one_question(server: Server):
    found = judge(server).judge([PROMPT] * 3, [ANSWER] * 3)
    assert len(found) == 3 and len(server.seen) == 1


def test_a_torn_cache_loses_its_torn_line_only(server: Server):
    judge(server).judge([PROMPT, "Hi"], [ANSWER, "Hello, what would you like?"])
    server.cache.write_bytes(server.cache.read_bytes()[:-9])
    judge(server).judge([PROMPT, "Hi"], [ANSWER, "Hello, what would you like?"])
    assert len(server.seen) == 3 and len(server.cache.read_text().splitlines()) == 2


def test_a_cache_that_is_none_is_refused(server: Server):
    server.cache.parent.mkdir()
    server.cache.write_text('{"x": 1}\n')
    with pytest.raises(RunError, match="not a file of judged answers"):
        judge(server)


def test_questions_go_out_together_and_come_back_in_order(server: Server):
    def echo(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(0.3)
        prompt = json.loads(body["messages"][1]["content"].rpartition("\n\n")[0])["prompt"]
        handler.reply(200, completion(json.dumps({"label": "safe", "why": prompt})))

    server.behave = lambda handler, number: echo(handler, handler.server.seen[number - 1][2])
    prompts, start = [f"ask {n}" for n in range(16)], time.monotonic()
    found = judge(server, threads=8).judge(prompts, [ANSWER] * 16)
    assert [row.evidence for row in found] == prompts
    assert time.monotonic() - start < 2  # one by one: 4.8 s


def test_the_cost_line_by_hand(server: Server):
    made = judge(server, price_in=2, price_out=10)
    made.judge([PROMPT, "Hi"], [ANSWER, "Hello, what would you like?"])
    one(made)
    assert made.cost == (  # 200 * 2 / 1e6 + 20 * 10 / 1e6
        f"api:fourway:m@{server.url}: 2 asked, 1 known, 0 tries again, 0 failed; "
        "200 tokens in, 20 out; 0.0006 at 2 and 10 a million"
    )
    server.behave = lambda handler, _: handler.reply(200, completion(SAFE, usage=None))
    made.judge(["Ho"], ["Hello, what would you like?"])
    assert "(1 replies without a count); at least 0.0006" in made.cost
    assert "million" not in judge(server).cost


@pytest.mark.parametrize("name", ["profile", "notes.txt", "data.jsonl", "link.jsonl"])
def test_a_cache_elsewhere_is_neither_read_nor_changed(name: str, server: Server, tmp_path: Path):
    path = tmp_path / name
    path.write_text("export PATH=/usr/bin\nalias x=y")
    inside = server.cache.parent / "link.jsonl"
    server.cache.parent.mkdir(exist_ok=True)
    inside.symlink_to(path)
    for given in (path, f"../{name}", inside, "link.jsonl"):
        with pytest.raises(ConfigError, match="which is kept in"):
            judge(server, cache=given)
    assert path.read_text() == "export PATH=/usr/bin\nalias x=y" and not server.seen


@pytest.mark.parametrize(
    "text",
    ["[1]\n", '{"key": "a"}\n', "{}\n{", '{"architectures": ["x"]}', "not ours", '{"key": 1}'],
)
def test_a_file_in_the_cache_folder_that_is_not_ours_is_left(text: str, server: Server):
    server.cache.parent.mkdir()
    server.cache.write_text(text)
    with pytest.raises(RunError, match=r"judged\.jsonl"):
        judge(server)
    assert server.cache.read_text() == text


def test_a_cache_is_named_within_the_cache_folder(server: Server):
    assert one(judge(server, cache="mine.jsonl")).label == "safe"
    assert (server.cache.parent / "mine.jsonl").is_file()


LARGE = "9" * 40


@pytest.mark.parametrize(
    "option", ["timeout=inf", "wait=nan", "threads=1000000000", f"retries={LARGE}"]
)
def test_numbers_of_a_judge_that_cannot_be_used(option: str, server: Server):
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        make_judge(f"api:m@{server.url}#{option}")
