"""Names of judges to judges."""

import subprocess
import sys
from pathlib import Path

import pytest

from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.api import ApiJudge
from skunlearn.evaluation.judges.base import Verdict, judge_key
from skunlearn.evaluation.judges.offline import OfflineJudge
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run

MINE = (
    "class Mine:\n    name, agreement = 'mine', None\n"
    "    def judge(self, prompts, answers): return []\n"
)


def test_every_way_to_name_a_judge(tmp_path: Path):
    (tmp_path / "mine.py").write_text(MINE)
    assert isinstance(make_judge("offline"), OfflineJudge)
    assert isinstance(make_judge("skunlearn.evaluation.judges.offline:OfflineJudge"), OfflineJudge)
    assert make_judge(f"{tmp_path}/mine.py:Mine").name == "mine"
    assert isinstance(make_judge("api:m@https://host/v1"), ApiJudge)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return []", "judge 'mine' gave 0 verdicts for 1 answers"),
        ("return None", "judge 'mine' failed: TypeError"),
        ("1 / 0", "judge 'mine' failed: ZeroDivisionError: division by zero"),
        ("return ['safe']", "gave 'safe': give a skunlearn.evaluation.judges.Verdict"),
        (
            "return [Verdict('unsafe', 1.0, '')]",
            "the label 'unsafe': give harmful, refused, degenerate, safe",
        ),
        ("return [Verdict('safe', 1.0, '', float('nan'))]", "harmful nan: give a probability"),
    ],
)
def test_a_judge_of_ones_own_is_held_to_what_a_judge_promises(
    tmp_path: Path, body: str, message: str
):
    file = tmp_path / "mine.py"
    head = "from skunlearn.evaluation.judges import Verdict\n"
    file.write_text(head + MINE.replace("return []", body))
    with pytest.raises(ConfigError, match=message):
        make_judge(f"{file}:Mine").judge(["p"], ["a"])
    file.write_text(head + MINE.replace("return []", "return [Verdict(None, 0, '')]"))
    assert make_judge(f"{file}:Mine").judge(["p"], ["a"]) == [Verdict(None, 0, "")]


def test_what_is_kept_of_a_judge_is_of_its_present_code(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    before = judge_key(make_judge(f"{file}:Mine"))
    assert judge_key(make_judge(f"{file}:Mine")) == before != "mine"
    file.write_text(MINE + "\n")
    assert judge_key(make_judge(f"{file}:Mine")) != before
    assert judge_key(make_judge("offline")) == make_judge("offline").name
    file.write_text("class Mine:\n    judge = None\n")
    with pytest.raises(ConfigError, match="has no name"):
        make_judge(f"{file}:Mine")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ofline", "did you mean 'offline'"),
        ("gaurd:org/name", "did you mean 'guard'"),
        ("guard", "needs to know its model: write guard:ID_OR_FOLDER"),
        ("api:", "needs to know its model: write api:MODEL@URL"),
        ("offline:x", "takes nothing behind a colon"),
        ("mine.py:Mine", "cannot be loaded"),
    ],
)
def test_wrong_names_say_what_to_do(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        make_judge(name)


def test_a_name_survives_the_way_through_a_run_file():
    name = "api:strongreject:llama3:8b@http://127.0.0.1:1/v1#threads=2&price_in=0.5"
    run = make_run(with_sets({}, [f"evaluate.judge={name}"]))
    assert run.evaluate.judge == name and name in run.as_yaml()


def test_a_wrong_name_is_one_line_and_exit_code_2(tmp_path: Path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi"}\n')
    words = [
        "evaluate",
        "smollm2-135m",
        "--base",
        "smollm2-135m",
        "--prompts",
        str(tmp_path / "prompts.jsonl"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "skunlearn", *words, "--set", "evaluate.judge=gaurd:x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert [line for line in done.stderr.splitlines() if line.startswith("skunlearn:")][
        -1
    ].endswith("'guard'?")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("api:m", "write api:MODEL@URL"),
        ("api:m@https://", "write api:MODEL@URL"),
        ("api:m@http://h:x/v1", "write api:MODEL@URL"),
        ("api:m@file:///etc/hosts", "write api:MODEL@URL"),
        ("api:m@https://höst/v1", "write api:MODEL@URL"),
        ("api:m@https://me:pass@h/v1", "the address holds a name or password"),
        (
            "api:strongrejct:m@https://h/v1",
            "rubric 'strongrejct' is not known: did you mean 'strongreject'",
        ),
        ("api:m@https://h/v1#thread=3", "option 'thread' is not known: did you mean 'threads'"),
        ("api:m@https://h/v1#threads=many", "threads=many: give a number"),
        ("api:m@https://h/v1#timeout=0", "timeout=0: give 0.1 or more"),
    ],
)
def test_wrong_addresses_and_options_are_one_clear_line(name: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        make_judge(name)
    assert "pass@h" not in str(caught.value)


def test_a_models_own_colon_is_no_rubric():
    made = make_judge("api:llama3:8b@http://127.0.0.1:1/v1")
    assert isinstance(made, ApiJudge) and made.endpoint.model == "llama3:8b"
    assert made.name == "api:fourway:llama3:8b@http://127.0.0.1:1/v1"
