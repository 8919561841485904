"""How long a client waits before it asks again."""

import time
from email.utils import formatdate

import pytest

from skunlearn.evaluation.judges.chat_client import ChatClient, _seconds


def test_retry_after_by_hand():
    assert (_seconds("7"), _seconds("-7"), _seconds(None), _seconds("soon")) == (
        7.0,
        0.0,
        None,
        None,
    )
    assert _seconds(formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)


def test_back_off_doubles_and_is_jittered():
    endpoint = ChatClient("http://127.0.0.1:1/v1", "m", timeout=1, retries=4, wait=8)
    for tries, longest in ((1, 8), (2, 16), (3, 32), (9, 120)):
        pauses = {endpoint._pause(tries, None) for _ in range(50)}
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
    assert all(30 <= endpoint._pause(1, 30) <= 34 for _ in range(50))
