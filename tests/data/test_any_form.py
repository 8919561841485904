"""Properties: the form of a file changes nothing, and no input makes anything but our errors."""

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skunlearn.data.columns import PROMPTS
from skunlearn.data.dataset import Data, DataOptions
from skunlearn.data.labels import FALSE_WORDS, SAFE_WORDS, TRUE_WORDS, UNSAFE_WORDS
from skunlearn.data.pairs import Mapping
from skunlearn.data.prompts import read_prompts
from skunlearn.data.readers import SUFFIXES, read_rows
from skunlearn.utils.errors import SkunlearnError

ROWS = 20
FEW = DataOptions(lookalike=False)
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
# Columns that true means safe in, and those that it means harmful in.
SAFE_COLUMNS = ("is_safe", "Is Safe", "is_response_safe", "harmless")
HARM_COLUMNS = ("is_harmful", "Unsafe", "response_harm_label", "toxicity")
PROMPT_COLUMNS = st.sampled_from([name for name in PROMPTS if name != "instruction"])
ANSWER_COLUMNS = st.sampled_from(["answer", "Response", "output", "COMPLETION", "model_output"])
FORMS = ("jsonl", "json", "columns", "csv", "tsv", "semicolons", "gz", "list")


@st.composite
def label_words(draw: st.DrawFn) -> tuple[str, Any, Any]:
    """A column of labels, and the words for safe and for harmful in it."""
    column = draw(st.sampled_from(SAFE_COLUMNS + HARM_COLUMNS))
    if draw(st.booleans()):
        return column, draw(st.sampled_from(SAFE_WORDS)), draw(st.sampled_from(UNSAFE_WORDS))
    yes, no = draw(st.sampled_from(TRUE_WORDS)), draw(st.sampled_from(FALSE_WORDS))
    return (column, yes, no) if column in SAFE_COLUMNS else (column, no, yes)


def written(folder: Path, rows: list[dict[str, Any]], form: str) -> Any:
    """The rows in one of the forms: a path, or what is given in memory."""
    if form == "list":
        return rows
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    delimiters = {"csv": ",", "tsv": "\t", "semicolons": ";"}
    if form in delimiters:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), delimiter=delimiters[form])
        writer.writeheader()
        writer.writerows(rows)
        path = folder / ("rows.tsv" if form == "tsv" else "rows.csv")
        path.write_text(table.getvalue())
        return path
    if form == "gz":
        path = folder / "rows.jsonl.gz"
        path.write_bytes(gzip.compress(lines.encode()))
        return path
    columns = {name: {str(n): row[name] for n, row in enumerate(rows)} for name in rows[0]}
    texts = {"jsonl": lines, "json": json.dumps(rows), "columns": json.dumps(columns)}
    path = folder / ("rows.jsonl" if form == "jsonl" else "rows.json")
    path.write_text(texts[form])
    return path


@QUICK
@given(
    prompt=PROMPT_COLUMNS,
    answer=ANSWER_COLUMNS,
    labels=label_words(),
    form=st.sampled_from(FORMS),
    order=st.permutations(range(4)),
)
def test_names_order_polarity_and_container_change_nothing(
    prompt: str, answer: str, labels: tuple[str, Any, Any], form: str, order: list[int]
):
    column, safe, harmful = labels
    rows = []
    for n in range(2 * ROWS):
        cells = [
            (prompt, f"question {n // 2}"),
            (answer, f"{'good' if n % 2 else 'bad'}, {n}"),
            (column, safe if n % 2 else harmful),
            ("id", str(n)),
        ]
        rows.append(dict(cells[place] for place in order))
    with tempfile.TemporaryDirectory() as folder:
        source = written(Path(folder), rows, form)
        data = Data(source, source, FEW)
    plain = []
    for n in range(2 * ROWS):
        kind = "good" if n % 2 else "bad"
        row = {"prompt": f"question {n // 2}", "answer": f"{kind}, {n}", "is_safe": n % 2 == 1}
        plain.append(row)
    assert data.fingerprint == Data(plain, plain, FEW).fingerprint
    assert {row.answer[:3] for row in data.train.forget} == {"bad"}


NAMES = st.sampled_from(
    [
        "prompt",
        "instruction",
        "input",
        "answer",
        "answers",
        "response_0",
        "response_1",
        "label",
        "messages",
        "chosen",
        "rejected",
        "text",
        "role",
        "content",
        "from",
        "value",
        "is_safe",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", ""]), "content": JSON}
)
CELL = JSON | st.lists(TURN, max_size=3) | st.sampled_from(["\n\nHuman: a\n\nAssistant: b", "1"])


@settings(QUICK, max_examples=150)
@given(rows=st.lists(st.dictionaries(NAMES, CELL, max_size=4), max_size=3))
def test_no_rows_make_anything_but_our_errors(rows: list[dict[str, Any]]):
    for read in (read_prompts, _pairs):
        try:
            read(rows)
        except SkunlearnError as error:
            assert "\n" not in str(error).strip()


def _pairs(rows: list[dict[str, Any]]) -> None:
    options = DataOptions(on_bad_row="skip", lookalike=False)
    Data(rows, rows, options)


@settings(QUICK, max_examples=150)
@given(
    content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    suffix=st.sampled_from([*SUFFIXES, ".jsonl.gz", ".csv.xz", ".json.bz2", ".zip"]),
)
def test_no_file_makes_anything_but_our_errors(content: bytes, suffix: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{suffix}"
        path.write_bytes(content)
        try:
            rows = read_rows(path)
            mapping = Mapping(rows, FEW.forget, "forget")
            for row, where in rows:
                list(mapping.pairs(row, where))
        except SkunlearnError as error:
            assert str(path) in str(error)
