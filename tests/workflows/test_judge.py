"""Files of labelled answers, and a judge held against them."""

import json
from pathlib import Path

import pytest

from skunlearn.evaluation.judges import make_judge
from skunlearn.evaluation.judges.base import Verdict
from skunlearn.report.judge import write_judge_page
from skunlearn.utils.errors import ConfigError, DataError
from skunlearn.workflows.judge import check_judge, label_rows
from skunlearn.workflows.labelled_answers import LabelledAnswer, read_labelled

CSV = "source,question,response,label\na,q1,yes do it,1\na,q2,sorry,0\nb,q3,,0\nb,q4,yes please,1\n"


class Keyword:
    """Says harmful for "yes", nothing for an empty answer."""

    name, agreement = "keyword", None

    def judge(self, prompts, answers):
        return [
            Verdict("harmful", 0.9, "yes")
            if "yes" in a
            else Verdict("refused", 0.8, "no yes")
            if a
            else Verdict(None, 0, "")
            for a in answers
        ]


class Broken(Keyword):
    def judge(self, prompts, answers):
        return [Verdict(None, 0.0, "failed") for _ in answers]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "answers.csv"
    path.write_text(CSV)
    return path


def test_a_binary_file_with_sources(table: Path):
    rows = read_labelled(table)
    assert [row.label for row in rows] == ["harmful", "other", "other", "harmful"] and rows[
        2
    ].answer == ""
    found = check_judge(Keyword(), rows)
    assert found["auroc"] == 1.0 and found["n"] == 4 and found["unscored"] == 1
    assert found["harmful"]["recall"] == 1.0 and found["refused"]["n"] == 0
    assert found["accuracy"] is None  # 0/1 labels cannot tell refused from safe
    assert set(found["per_source"]) == {"a", "b"} and found["per_source"]["b"]["n"] == 2
    json.dumps(found, allow_nan=False)


def test_a_judge_that_always_fails_scores_nothing(table: Path):
    found = check_judge(Broken(), read_labelled(table))
    assert found["auroc"] is None and found["unscored"] == 4
    assert found["harmful"] | {"kappa": 0} == {
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
        "kappa": 0,
        "n": 2,
        "unscored": 2,
    }


def test_the_shipped_answers_are_the_default():
    rows = read_labelled(None)
    assert len(rows) >= 400 and {row.source for row in rows} >= {"forget base", "retain base"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.csv", "prompt,answer\na,b\n", "no column 'label'"),
        ("bad.csv", "prompt,answer,label\n,b,1\n", ":2: no prompt"),
        ("bad.csv", "prompt,answer,label\na,b,\n", ":2: no label"),
        (
            "bad.csv",
            "prompt,answer,label\na,b,odd\n",
            ":2: safety label 'odd' is not known.*known are also harmful",
        ),
        ("bad.csv", "prompt,answer,label\n", "has no rows"),
        ("bad.csv", "", "has no rows"),
        (
            "bad.jsonl",
            '{"prompt": "q", "answer": ["a"], "label": 1}',
            ":1: 'answer' holds a list: give a text",
        ),
        (
            "bad.jsonl",
            '{"answer": "a", "label": 1}\n{"prompt": "q", "answer": "b", "label": 0}',
            ":1: no prompt",
        ),
        (
            "bad.jsonl",
            '{"prompt": "q", "answer": "\\ud83d", "label": 1}',
            ":1: half of a character",
        ),
        ("bad.jsonl", "[1, 2]", ":1: expected an object"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labelled(path)


@pytest.mark.parametrize("label", ["0", "1"])
def test_one_class_has_no_auroc_and_the_rest_all_the_same(tmp_path: Path, label: str):
    path = tmp_path / "one.csv"
    path.write_text(f"prompt,answer,label\na,yes,{label}\nb,no,{label}\n")
    found = check_judge(Keyword(), read_labelled(path))
    assert found["auroc"] is None and found["n"] == 2 and found["harmful"]["n"] == 2 * int(label)
    assert found["harmful"]["precision"] == int(label) and found["harmful"]["recall"] == (
        0.5 if label == "1" else None
    )
    json.dumps(found, allow_nan=False)


def test_odd_files_are_read_all_the_same(tmp_path: Path):
    table = tmp_path / "odd.csv"
    table.write_bytes(
        b"\xef\xbb\xbfId,Question,RESPONSE,Label,Source,more\n"
        b"7,q1,yes, Harmful ,s,\n8,q2,,OTHER,,x\n"
    )
    assert read_labelled(table) == [
        LabelledAnswer("q1", "yes", "harmful", "s"),
        LabelledAnswer("q2", "", "other"),
    ]
    lines = tmp_path / "odd.jsonl"
    lines.write_text(
        '{"label": true, "prompt": "q1"}\n\n'
        '{"prompt": "q2", "answer": 0, "label": 0.0, "source": 3}\n'
        '{"prompt": "q3", "answer": null, "label": "degenerate", "source": null}\n'
    )
    assert read_labelled(lines) == [
        LabelledAnswer("q1", "", "harmful"),
        LabelledAnswer("q2", "0", "other", "3"),
        LabelledAnswer("q3", "", "degenerate"),
    ]


def test_labels_are_added_to_the_rows_as_they_were(table: Path):
    rows = list(label_rows(Keyword(), table))
    assert (
        rows[0]["source"] == "a"
        and rows[0]["verdict"] == "harmful"
        and rows[0]["evidence"] == "yes"
    )
    assert rows[2]["verdict"] is None and rows[0]["label"] == "1", "what was there stays"


def test_a_judge_is_held_against_peoples_labels_and_not_its_own_verdicts(tmp_path: Path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        '{"prompt": "q", "answer": "no", "harmful": 1}\n'
        '{"prompt": "q", "answer": "yes", "harmful": 0}\n'
    )
    judged = tmp_path / "judged.jsonl"
    judged.write_text("".join(json.dumps(row) + "\n" for row in label_rows(Keyword(), gold)))
    assert [row.label for row in read_labelled(judged)] == ["harmful", "other"]
    with pytest.raises(DataError, match="the column 'verdict' is there already"):
        list(label_rows(Keyword(), judged))


def test_a_check_corrects_the_rates_of_the_judge_that_it_is_of(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from skunlearn.evaluation.judges import Verdict\nclass Mine:\n    name = 'mine'\n"
        "    def judge(self, prompts, answers):\n"
        "        return [Verdict('harmful' if 'yes' in a else 'safe', 1.0, '') for a in answers]\n"
    )
    named, check = f"{tmp_path}/mine.py:Mine", tmp_path / "check.json"
    texts = ["yes"] * 8 + ["no"] * 2 + ["no"] * 9 + ["yes"]  # finds 8 of 10, clears 9 of 10
    rows = [
        LabelledAnswer("q", text, "harmful" if n < 10 else "safe") for n, text in enumerate(texts)
    ]
    found = check_judge(make_judge(named), rows)
    check.write_text(json.dumps(found))
    assert make_judge(named).agreement is None
    agreement = make_judge(named, str(check)).agreement
    assert agreement is not None and (agreement.found, agreement.cleared) == ((8, 10), (9, 10))
    assert agreement.accuracy == 0.85 and "20 labelled answers" in str(agreement)
    with pytest.raises(ConfigError, match=r"it is of the judge mine, not of offline"):
        make_judge("offline", str(check))
    check.write_text(json.dumps(check_judge(make_judge(named), rows[:5])))  # harmful ones alone
    for path in (check, tmp_path / "nothing.json", tmp_path / "mine.py"):
        with pytest.raises(
            ConfigError, match="not what 'skunlearn judge check --judge mine --json' prints"
        ):
            make_judge(named, str(path))


def test_a_label_alone_ranks_harmful_above_the_others():
    alone = [
        Verdict(label, sure, "") for label, sure in (("harmful", 0.3), ("safe", 0.2), ("safe", 0.9))
    ]
    assert [verdict.harm for verdict in alone] == pytest.approx([0.5, 0.4, 0.05])


def test_the_page_of_a_file_without_sources(tmp_path: Path):
    found = check_judge(
        Keyword(), [LabelledAnswer("q", "yes", "harmful"), LabelledAnswer("q", "sorry", "refused")]
    )
    write_judge_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Judge keyword" in page and "By source" not in page


def labels(folder: Path, column: str, values: list) -> list[str]:
    """The labels that are read from a column with these values."""
    path = folder / "labels.jsonl"
    rows = [{"prompt": f"q{n}", "answer": "a", column: value} for n, value in enumerate(values)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [row.label for row in read_labelled(path)]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("label", ["safe", "unsafe"], ["other", "harmful"]),
        ("label", ["Unharmful", "HARMFUL"], ["other", "harmful"]),
        ("label", ["no", "yes"], ["other", "harmful"]),
        ("label", [0, 1.0], ["other", "harmful"]),
        ("is_safe", [True, False], ["other", "harmful"]),
        ("is_safe", ["1", "0"], ["other", "harmful"]),
        ("response_harm_label", ["unharmful", "harmful"], ["other", "harmful"]),
        ("toxicity", [0, 1], ["other", "harmful"]),
        ("label", ["safe", "harmful", "refused"], ["safe", "harmful", "refused"]),
        ("label", ["safe", "harmful"], ["safe", "harmful"]),
    ],
)
def test_labels_have_the_words_and_names_that_forget_sets_may_have(
    tmp_path: Path, column: str, values: list, expected: list[str]
):
    assert labels(tmp_path, column, values) == expected


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", ["harmful", "spam"], r"labels\.jsonl:2: safety label 'spam'.*'harmful', 'spam'"),
        ("is_harmful", ["perhaps", "maybe"], r"jsonl:1: safety label 'perhaps'.*'maybe'"),
        ("safety_label", [0, 1], "rename the column to is_safe or is_harmful"),
        ("prompt_harm_label", ["harmful", "unharmful"], "no column 'label'"),
    ],
)
def test_labels_that_cannot_be_told_are_an_error(
    tmp_path: Path, column: str, values: list, message: str
):
    with pytest.raises(DataError, match=message):
        labels(tmp_path, column, values)


def test_answers_stand_in_the_columns_that_a_forget_set_may_have(tmp_path: Path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}]
    for row in (
        {"behavior": "q", "generation": "yes"},
        {"messages": turns},
        {"instruction": "q", "output": "yes"},
        {"prompt": turns[:1], "model_output": "yes"},
    ):
        path = tmp_path / "answers.jsonl"
        path.write_text(json.dumps(row | {"is_safe": False}))
        assert read_labelled(path) == [LabelledAnswer("q", "yes", "harmful")]
        (labelled,) = label_rows(Keyword(), path)
        assert labelled["verdict"] == "harmful"
