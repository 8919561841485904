"""Rows that do not fit stop the run, or are skipped and counted; rows are tokenised in batches."""

import json
from pathlib import Path

import pytest
import toy

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.examples import Example
from skunlearn.data.fitting import fitting_data, fitting_split
from skunlearn.utils.errors import DataError
from skunlearn.workflows.config import make_run
from skunlearn.workflows.planning.plan import make_plan

LONG = "word " * 300
# A template that wants the turns in turn, as Gemma's and Mistral's do.
STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<|{{ m['role'] }}|>\n"
    "{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SKIP = {"on_bad_row": "skip", "max_length": 400, "lookalike": False}


def rows() -> list[dict]:
    found = [{"prompt": f"question {n}", "answer": f"answer {n}"} for n in range(40)]
    found[5]["prompt"] += LONG
    found[9]["answer"] += LONG  # which is cut, as ever
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "question 11"}]
    return [*found[:11], {"prompt": two, "answer": "b"}, *found[12:]]


def all_prompts(data: Data) -> set[str]:
    parts = (data.train, data.validation, data.test)
    return {row.prompt for part in parts for row in (*part.forget, *part.seen)}


@pytest.fixture
def lm() -> object:
    lm = toy.lm()
    lm.template.tokenizer.chat_template = STRICT
    return lm


def test_rows_that_do_not_fit_are_skipped_and_counted(lm, tmp_path: Path):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    data = Data(path, options=DataOptions(**SKIP))
    fitted = fitting_data(lm.template, data)
    assert all_prompts(fitted) == {f"question {n}" for n in range(40) if n not in (5, 11)}
    (step,) = [step for side, step, _ in fitted.funnel if "that fit" in step]
    assert step.startswith(f"that fit the template and data.max_length (not {path}:")
    assert step.endswith(" and 1 more)") and fitted.funnel[-1] == ("forget", step, 38)
    # What was given is as it was, and so is its name.
    assert len(all_prompts(data)) == 40 and "that fit" not in str(data.funnel)
    assert fitting_data(lm.template, fitted).fingerprint == fitted.fingerprint


def test_plan_and_run_skip_them_or_stop_at_the_first(lm):
    run = make_run({"data": SKIP, "train": {"steps": 1, "batch": 1}})
    plan = make_plan(lm, Data(rows(), options=run.data), run.make_method(), run)
    assert sum(plan.parts["forget"]) == 38
    stop = make_run({"data": {**SKIP, "on_bad_row": "error"}, "train": {"steps": 1, "batch": 1}})
    with pytest.raises(DataError, match=r"set\[(6|12)\]: .*"):
        make_plan(lm, Data(rows(), options=stop.data), stop.make_method(), stop)


def test_when_nothing_fits_that_is_said(lm):
    data = Data(rows(), options=DataOptions(**{**SKIP, "max_length": 12}))
    with pytest.raises(DataError, match="no forget row of the train part fits the model: "):
        fitting_data(lm.template, data)


def test_a_part_tells_which_rows_do_not_fit_and_why(lm):
    data = Data(rows(), options=DataOptions(**SKIP))
    found: dict[str, str] = {}
    for part in (data.train, data.validation, data.test):
        split, problems = fitting_split(lm.template, part, 400)
        unfit = problems.get("forget", {})
        assert len(split.forget) == len(part.forget) - len(unfit)
        found |= {row.where[-4:]: str(error) for row, error in unfit.items()}
    assert set(found) == {"t[6]", "[12]"}
    assert "data.max_length=400" in found["t[6]"] and "roles must alternate" in found["[12]"]


@pytest.mark.parametrize("family", ["Llama", "Gemma2"])
@pytest.mark.parametrize("is_chat", [True, False])
def test_batches_have_the_tokens_of_single_rows(family: str, is_chat: bool):
    examples = [Example(f"question {n} {'x' * n}", f"answer {n}") for n in range(20)]
    examples += [Example("hi", ""), Example("hi", " spaces "), Example("über", "日本")]
    examples.append(Example("next", "a", history=(("user", "hi"), ("assistant", "ho"))))
    single, batch = toy.lm(family).template, toy.lm(family).template
    if not is_chat:
        single = toy.lm(family, chat=False).template
        batch = toy.lm(family, chat=False).template
    found = list(batch.encode_all([*examples, *examples], 60))
    assert found == [single.encode(row, 60) for row in (*examples, *examples)]
    assert all(isinstance(row, Encoded) for row in found)


def test_a_plan_calls_the_tokenizer_few_times(monkeypatch: pytest.MonkeyPatch):
    lm = toy.lm()
    calls = []
    tokenizer = type(lm.template.tokenizer)
    call = tokenizer.__call__
    monkeypatch.setattr(
        tokenizer, "__call__", lambda self, *a, **k: calls.append(1) or call(self, *a, **k)
    )
    many = [{"prompt": f"question {n}", "answer": f"answer {n}"} for n in range(2000)]
    run = make_run({"data": {"lookalike": False}, "train": {"steps": 1, "batch": 1}})
    data = Data(many[:1000], many[1000:], run.data)
    make_plan(lm, data, run.make_method(), run)
    # Training rows go in batches; what is left are the few prompts that are answered later.
    assert len(calls) < 600
