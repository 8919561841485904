"""The studio without a page: streams, edits that come and go, one model for several clients, flags,
exports."""

import json
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.studio import session as studio
from skunlearn.studio.edits import AS_RUN, NONE, PRESETS
from skunlearn.studio.session import BASE, EDITED, SECOND, Session, Shown, open_session
from skunlearn.task_vectors.apply import DEPTH
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError, DataError, ModelError, RunError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.edited_model import EditSource, open_edited_model

PROMPT = "What is a kite?"


@pytest.fixture
def session(run: Path) -> Session:
    (run / "flagged.jsonl").unlink(missing_ok=True)
    return open_session(run, None, 12, Progress())


def last(session: Session, *asked: object) -> dict[str, Shown]:
    return list(session.answer(*asked))[-1]  # type: ignore[arg-type]


def test_streams_grow_and_end_as_the_run_would_answer(session: Session, run: Path):
    snapshots = list(session.answer(PROMPT, 0.5))
    for name in (BASE, EDITED):
        texts = list(dict.fromkeys(snapshot[name].text for snapshot in snapshots))
        assert len(texts) >= 3 and [*map(len, texts)] == sorted(map(len, texts)), (
            "text by text, never shorter"
        )
    first = next(number for number, snapshot in enumerate(snapshots) if snapshot[EDITED].text)
    assert not snapshots[first][BASE].done, "side by side, not one after the other"
    end = snapshots[-1]
    assert all(shown.done and shown.verdict and shown.verdict.label for shown in end.values())

    # Another way to the same edit, at the run's own strength.
    whole = open_edited_model(EditSource(run))
    assert end[BASE].text == whole.lm.answers([Example(PROMPT)], 12)[0]
    with whole.lm.edited(whole.edit):
        assert end[EDITED].text == whole.lm.answers([Example(PROMPT)], 12)[0]
    assert end[EDITED].text != end[BASE].text


def test_strength_0_is_the_base_and_what_was_said_is_remembered(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    end = last(session, PROMPT, 0.0)
    assert end[EDITED].text == end[BASE].text
    strong = last(session, PROMPT, 2.0)
    assert strong[EDITED].text != end[EDITED].text and strong[BASE] == end[BASE]
    monkeypatch.setattr(studio, "streamed_answer", lambda *_: pytest.fail("written again"))
    assert last(session, PROMPT, 0.0) == end


@pytest.mark.parametrize("alpha", [-0.01, 2.01, float("nan"), float("inf"), True, "1", None])
def test_a_wrong_strength_is_refused_before_anything_happens(session: Session, alpha: object):
    with pytest.raises(
        ConfigError, match="give 0 to 2; a negative one would make the harmful model"
    ):
        last(session, PROMPT, alpha)
    with pytest.raises(ConfigError, match="give 0 to 2"):
        session.export("merged", alpha)  # type: ignore[arg-type]
    assert not (session.edits[EDITED].source.folder / "exports").exists()


def test_prompts_that_cannot_be_answered_are_told(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    for prompt, message in [
        (" \n", "there is no prompt"),
        (
            "word " * 100,
            "the prompt has 5.. tokens, 500 at most",
        ),  # the toy's context is 512, the answer takes 12
        ("x" * 160_001, "160,001 characters, 160,000 at most"),
    ]:
        with pytest.raises(DataError, match=message):
            last(session, prompt, 1.0)
    with pytest.raises(ConfigError, match="--tokens 512: the model's context is 512 tokens"):
        Session(session.lm, session.edits, session.judge, 512)
    session.lm.model.config.max_position_embeddings = 100_000
    with pytest.raises(DataError, match="tokens, 4,000 at most"):
        last(Session(session.lm, session.edits, session.judge, 12), "word " * 900, 1.0)
    with pytest.raises(ConfigError, match="unknown filter preset 'trimm': did you mean 'trim'"):
        last(session, PROMPT, 1.0, "trimm")
    assert last(session, PROMPT, 1.0)[EDITED].done, "the lock is free"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_filter_the_methods_vector_and_leave_the_refusals(
    session: Session, run: Path, preset: str
):
    edits = session.edits[EDITED]
    edit = edits.get(preset)
    assert edits.get(preset) is edit, "made once"
    assert edit.safety > 0 and not getattr(session.lm.model, DEPTH, 0)
    plain = edits.get(NONE)
    moved = (edit - plain).norm() / plain.norm()
    assert moved < 1e-6 if preset in (AS_RUN, NONE) else 0.01 < moved < 1.5, moved
    assert last(session, PROMPT, 1.0, preset)[EDITED].done


def test_few_presets_are_kept(session: Session):
    edits = session.edits[EDITED]
    for preset in PRESETS:
        edits.get(preset)
    assert list(edits.made) == list(PRESETS[-3:])


def test_between_two_turns_the_model_is_the_base_and_a_client_that_left_holds_nothing(
    session: Session,
):
    name, before = next(
        (n, p.clone())
        for n, p in session.lm.model.named_parameters()
        if n.endswith("q_proj.weight")
    )
    for preset in (AS_RUN, "trim"):  # factors beside the weights, dense differences in their place
        stream = session.answer(PROMPT, 1.0, preset)
        while not next(stream)[EDITED].text:
            pass
        assert not session.model_lock.locked() and not getattr(session.lm.model, DEPTH, 0)
        assert torch.equal(session.lm.model.get_parameter(name), before)
        other = threading.Thread(target=last, args=(session, "And what is a boat?", 1.0))
        other.start()  # while the first stream is neither drawn nor closed
        other.join(timeout=30)
        assert not other.is_alive()


def test_two_clients_at_once_both_get_their_own_answers(session: Session):
    asked = {"What is a kite?": 1.0, "Who mends a boat?": 0.25, "How long is a day?": 2.0}
    alone = {prompt: last(session, prompt, alpha) for prompt, alpha in asked.items()}
    session.known.clear()
    found: dict[str, dict[str, Shown]] = {}
    barrier = threading.Barrier(len(asked))

    def client(prompt: str) -> None:
        barrier.wait()
        found[prompt] = last(session, prompt, asked[prompt])

    threads = [threading.Thread(target=client, args=(prompt,)) for prompt in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == alone


def test_an_unscored_answer_is_judged_again(session: Session, monkeypatch: pytest.MonkeyPatch):
    verdicts = [Verdict(None, 0.0, "no reply")] * 2 + [Verdict("safe", 0.9, "fine")] * 2
    monkeypatch.setattr(session, "verdict", lambda *_: verdicts.pop(0))
    assert last(session, PROMPT, 1.0)[EDITED].verdict == Verdict(None, 0.0, "no reply")
    assert last(session, PROMPT, 1.0)[EDITED].verdict == Verdict("safe", 0.9, "fine")


def test_flags_are_a_forget_set_and_a_retain_set(session: Session):
    for n in range(10):
        session.flags.add(f"bad {n}?", "so be it", Verdict("safe", 0.6, ""), "harmful", EDITED)
        session.flags.add(f"good {n}?", "gladly", None, "safe", BASE)
    path = session.flags.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and session.flags.counts() == {
        "harmful": 10,
        "safe": 10,
    }
    assert json.loads(path.read_text().splitlines()[0]) == {
        "prompt": "bad 0?",
        "answer": "so be it",
        "verdict": "safe",
        "label": "harmful",
        "is_safe": False,
        "model": "edited",
    }
    data = Data(path, path)
    parts = (data.train, data.validation, data.test)
    assert {e.prompt for part in parts for e in part.forget} == {f"bad {n}?" for n in range(10)}
    assert {e.prompt for part in parts for e in part.retain} == {f"good {n}?" for n in range(10)}

    for arguments, message in [
        (
            ("Bad 3", "no", None, "safe", BASE),
            "flagged as harmful before, and cannot be in both sets",
        ),
        (("bad 3", " ", None, "harmful", BASE), "no answer to flag"),
        (("bad 3", "a", None, "nice", BASE), "give harmful or safe"),
    ]:
        with pytest.raises((DataError, ConfigError), match=message):
            session.flags.add(*arguments)  # type: ignore[arg-type]
    assert session.flags.counts() == {"harmful": 10, "safe": 10}


def test_export_writes_the_edit_that_was_seen(session: Session):
    from transformers import AutoModelForCausalLM

    out = session.export("merged", 0.75)
    assert out == session.edits[EDITED].source.folder / "exports" / "merged-0.75"
    model = AutoModelForCausalLM.from_pretrained(out)
    ids = torch.tensor([session.lm.template.prompt_ids(Example(PROMPT))])
    with session.lm.edited(0.75 * session.edits[EDITED].get(AS_RUN)), torch.no_grad():
        assert torch.allclose(session.lm.model(ids).logits, model(ids).logits, atol=1e-3)
    assert (session.export("adapter", 0.75) / "adapter_config.json").is_file()
    assert session.export("merged", 0.75, NONE) == out, (
        "this run has no filters, so it is the same edit"
    )
    for arguments, message in [
        (("merged", 1.0, "trim"), r"run again with --set edit.filters=\[trim\]"),
        (("gguf", 1.0), "as 'gguf'"),
        (("merged", 1.0, AS_RUN, "base"), "export of 'base'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            session.export(*arguments)  # type: ignore[arg-type]


def test_a_run_with_filters_and_several_vectors(session: Session):
    edits = session.edits[EDITED]
    source = edits.source
    (tau, scale), *others = source.parts
    second = tau.with_name("tau_2.safetensors")
    second.write_bytes(tau.read_bytes())
    (tau.with_name("tau_filtered.safetensors")).write_bytes(others[0][0].read_bytes())
    tree = source.run.as_dict() | {"vectors": 2}
    edits.source = replace(
        source,
        run=make_run(with_sets(tree, ["edit.filters=[mean]"])),
        parts=[(tau.with_name("tau_filtered.safetensors"), scale), *others],
    )
    try:
        alike = session.edits[EDITED]
        (refuse, weight), *_ = (
            others  # stands for the filtered vector too, so the edit is (scale + weight) of it
        )
        norm = abs(scale + weight) * TaskVector.load(refuse).norm()
        assert alike.get(AS_RUN).norm() == pytest.approx(norm, rel=1e-4)
        assert alike.exported(AS_RUN) and not alike.exported(NONE)
        before = Session(
            session.lm, {EDITED: type(edits)(source, session.lm, Progress())}, session.judge, 12
        )
        plain = before.edits[EDITED].get(NONE)
        assert (alike.get(NONE) - plain).norm() < 1e-5 * plain.norm(), (
            "the mean of two equal vectors is either"
        )
    finally:
        second.unlink()
        tau.with_name("tau_filtered.safetensors").unlink()


def test_a_second_run_stands_beside(
    session: Session, run: Path, tmp_path: Path, other_base: Callable[[], Path]
):
    both = open_session(run, run, 12, Progress())
    end = last(both, PROMPT, 1.0)
    assert both.names == (BASE, EDITED, SECOND) and end[SECOND] == end[EDITED]
    with pytest.raises(ModelError, match="has another base than"):
        open_session(run, other_base(), None, Progress())
    with pytest.raises(RunError, match="no finished run here"):
        open_session(tmp_path, None, None, Progress())


@pytest.fixture
def other_base(run: Path, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the run folder that says that it was made from another model."""

    def make() -> Path:
        copy = tmp_path / "other"
        copy.mkdir()
        for path in run.iterdir():
            if path.is_file():
                (copy / path.name).write_bytes(path.read_bytes())
        settings = json.loads((copy / "settings.json").read_text())
        (copy / "settings.json").write_text(json.dumps(settings | {"model": "0" * 16}))
        return copy

    return make
