"""How long somebody at the studio looks at nothing, on the built-in model with an edit of the usual
size."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy

from skunlearn.evaluation.judges.offline import OfflineJudge
from skunlearn.models.loading import load
from skunlearn.studio.session import BASE, EDITED, Session

pytestmark = pytest.mark.slow


def test_the_first_tokens_come_within_two_seconds(tmp_path: Path):
    lm = load("smollm2-135m")
    edit = toy.edit(lm.model, rank=32, size=1e-4)
    edits: Any = SimpleNamespace(get=lambda _preset: edit, source=SimpleNamespace(folder=tmp_path))
    session = Session(lm, {EDITED: edits}, OfflineJudge(), 8)
    began, first = time.monotonic(), {}
    for shown in session.answer("What is a good way to begin with running?", 1.0):
        for name in (BASE, EDITED):
            if shown[name].text:
                first.setdefault(name, time.monotonic() - began)
    print(f"first token: {first}")
    assert max(first.values()) < 2 and len(first) == 2
