"""The battery: same prompts and judge, nothing kept but rates and answers, a killed one goes on."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from skunlearn import make_run, run_job
from skunlearn.attacks.base import Situation, one_form_each
from skunlearn.attacks.battery import best_for_attacker
from skunlearn.attacks.mirror import Mirror
from skunlearn.attacks.prefill import Prefill
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.evaluation.completions import Completer, CompletionStore
from skunlearn.evaluation.judges.base import Label, Verdict
from skunlearn.evaluation.judges.offline import OfflineJudge
from skunlearn.models.lm import LM
from skunlearn.models.loading import load
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.attack import attack_job
from skunlearn.workflows.edited_model import EditSource
from skunlearn.workflows.report import report_again

FOUR = ("harmful_rate", "refusal_rate", "degenerate_rate", "safe_rate")
COUNTS = ["prompts=3", "max_new_tokens=4"]
TREE = {
    "train": {"steps": 2, "batch": 2},
    "refuse": {"train": {"steps": 1, "batch": 1}},
    "lora": {"rank": 2},
    "edit": {"alpha": 1.0},
    "evaluate": {"forget": 3, "seen": 1, "retain": 1, "lookalike": 1, "max_new_tokens": 4},
    "data": {"max_length": 600},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the toy model with its saved checkpoint."""
    folder = tmp_path_factory.mktemp("attacked") / "run"
    run_job(make_run(TREE), folder, save=True)
    return folder


def rates(rows: list[dict]) -> dict[tuple[str, str], float]:
    return {(row["attack"], row["on"]): row["scores"]["harmful_rate"]["value"] for row in rows}


def by_hand(run: Path) -> float:
    """KL(base || edited) on ordinary test answers, mean over the tokens, from two whole forward
    passes each."""
    import torch

    settings = make_run(read_run(run / "run.yaml"))
    base, edited = load("smollm2-135m"), load(str(run / "model"))
    total, tokens = 0.0, 0
    for example in Data(None, None, settings.data).test.retain[:16]:
        row = base.template.encode(example, settings.data.max_length)
        ids, first = torch.tensor([[*row.prompt_ids, *row.answer_ids]]), len(row.prompt_ids)
        with torch.no_grad():
            log_p, log_q = (
                lm.model(ids).logits[0, first - 1 : -1].log_softmax(-1) for lm in (base, edited)
            )
        total += float((log_p.exp() * (log_p - log_q)).sum())
        tokens += len(row.answer_ids)
    return total / tokens


def test_the_battery_of_a_run(run: Path):
    files = {path.name for path in run.rglob("*")}
    results = attack_job(run, only=["mirror", "prefill"], sets=COUNTS)
    rows = results["attacks"]
    assert [(row["attack"], row["on"]) for row in rows] == [
        ("none", "base"),
        ("none", "edited"),
        ("mirror", "edited"),
        ("prefill", "edited"),
        ("prefill", "base"),
    ]
    for row in rows:
        assert sum(row["scores"][name]["value"] for name in FOUR) == pytest.approx(1)
        assert row["scores"]["harmful_rate"]["n"] == 3 and row["cost"]["text"]
    far = {
        (row["attack"], row["on"]): row["scores"].get("retain_kl", {}).get("value") for row in rows
    }
    assert (
        abs(far["none", "base"]) < 1e-6 < far["none", "edited"] and far["mirror", "edited"] > 1e-6
    )
    assert far["prefill", "edited"] is far["prefill", "base"] is None, (
        "no weights are attacked there"
    )
    assert far["none", "edited"] == pytest.approx(by_hand(run), rel=0.01)
    done = json.loads((run / "results.json").read_text())["scores"]
    for on in ("base", "edited"):
        assert rates(rows)["none", on] == done[on]["harmful_rate_unseen"]["value"], (
            "the same prompts, answers and judge"
        )
    assert {path.name for path in run.rglob("*")} - files == {"attacks.json", "attacks.jsonl"}, (
        "nothing else is kept"
    )
    for name in ("attacks.json", "attacks.jsonl", "completions.jsonl"):
        assert stat.S_IMODE((run / name).stat().st_mode) == 0o600
    assert {k: v for k, v in results.items() if k not in ("run", "report")} == json.loads(
        (run / "attacks.json").read_text()
    )


def test_a_killed_battery_goes_on_and_finished_attacks_are_not_done_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = attack_job(run, only=["mirror", "prefill"], sets=COUNTS)["attacks"]

    def killed(*_: object) -> Iterator[Situation]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Prefill, "situations", killed)
        with pytest.raises(KeyboardInterrupt):
            attack_job(run, only=["mirror", "prefill"], sets=COUNTS, out=tmp_path / "o")
    assert not (tmp_path / "o/attacks.json").exists() and not (tmp_path / "o/lock").exists()
    answered: list[int] = []
    real = LM.answers
    monkeypatch.setattr(Mirror, "situations", lambda *_: pytest.fail("done again"))
    monkeypatch.setattr(
        LM, "answers", lambda self, e, *a: answered.append(len(e)) or real(self, e, *a)
    )
    again = attack_job(run, only=["mirror", "prefill"], sets=COUNTS, out=tmp_path / "o")["attacks"]
    assert answered == [3, 3], "only prefill, on both models"
    for a, b in zip(again, whole, strict=True):
        assert {**a, "seconds": 0, "cost": 0} == {**b, "seconds": 0, "cost": 0}


def test_batteries_add_up_and_other_counts_start_anew(run: Path, tmp_path: Path):
    out = tmp_path / "o"
    attack_job(run, only=["mirror"], sets=COUNTS, out=out)
    both = attack_job(run, only=["quantise"], sets=[*COUNTS, "quantise.forms=[int8]"], out=out)[
        "attacks"
    ]
    assert [row["attack"] for row in both] == ["none", "none", "mirror", "quantise", "quantise"]
    other = attack_job(run, only=["quantise"], sets=[*COUNTS, "quantise.forms=[nf4]"], out=out)[
        "attacks"
    ]
    assert [row["variant"] for row in other if row["attack"] == "quantise"] == ["nf4", "nf4"]
    back = attack_job(run, only=["quantise"], sets=[*COUNTS, "quantise.forms=[int8]"], out=out)[
        "attacks"
    ]
    assert {row["variant"] for row in back if row["attack"] == "quantise"} == {"int8"}, (
        "the options asked for now"
    )
    fewer = attack_job(run, only=["mirror"], sets=["prompts=2", "max_new_tokens=4"], out=out)[
        "attacks"
    ]
    assert [row["attack"] for row in fewer] == ["none", "none", "mirror"]
    assert fewer[0]["scores"]["harmful_rate"]["n"] == 2


def test_two_checkpoints_give_what_their_run_gives(run: Path, tmp_path: Path):
    of_run = attack_job(run, only=["mirror"], sets=COUNTS)["attacks"]
    sets = [*COUNTS, "data.max_length=600"]
    source = EditSource(run / "model", base="smollm2-135m")
    found = attack_job(source, only=["mirror"], sets=sets, out=tmp_path / "o")
    theirs = rates(found["attacks"])
    assert theirs == {key: value for key, value in rates(of_run).items() if key in theirs}
    page = Path(found["report"]).read_text()
    assert (
        page.startswith("<!doctype html>")
        and "mirror" in page
        and "Under attack it complies with" in page
    )
    Path(found["report"]).unlink()
    assert report_again(tmp_path / "o") == [tmp_path / "o/attacks.html"]
    assert len(Path(found["report"]).read_text()) == len(page)


def test_another_judge_has_its_own_folder_and_its_own_rates(run: Path, tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from skunlearn.evaluation.judges import Verdict\n"
        "class Mine:\n"
        "    name, agreement = 'mine', None\n"
        "    def judge(self, prompts, answers):\n"
        "        return [Verdict('harmful', 1.0, '') for _ in answers]\n"
    )
    named = f"{tmp_path}/mine.py:Mine"
    with pytest.raises(ConfigError, match="give --out too"):
        attack_job(run, only=["mirror"], sets=COUNTS, judge=named)
    found = attack_job(run, only=["mirror"], sets=COUNTS, judge=named, out=tmp_path / "o")
    assert found["judge"]["name"] == "mine" and set(rates(found["attacks"]).values()) == {1.0}
    (tmp_path / "mine.py").write_text(
        (tmp_path / "mine.py").read_text().replace("'harmful'", "'safe'")
    )
    again = attack_job(run, only=["mirror"], sets=COUNTS, judge=named, out=tmp_path / "o")
    assert set(rates(again["attacks"]).values()) == {0.0}, (
        "verdicts of the code before are not taken for these"
    )


def test_relearning_of_a_run_is_never_written(run: Path, tmp_path: Path):
    sets = [*COUNTS, "relearn.examples=[4]", "relearn.curve.steps=[1,2]", "relearn.curve.batch=2"]
    rows = attack_job(run, only=["relearn"], sets=sets, out=tmp_path / "o")["attacks"]
    assert [row["cost"]["steps"] for row in rows if row["attack"] == "relearn"] == [1, 2, 1, 2]
    names = {path.name for path in (tmp_path / "o").rglob("*")}
    assert names == {
        "settings.json",
        "attacks.json",
        "attacks.jsonl",
        "completions.jsonl",
        "attacks.html",
    }


def test_run_can_attack_too(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "skunlearn.workflows.run.attack_job", lambda where, **k: {"attacks": [where, k["suite"]]}
    )
    assert run_job(make_run(TREE), run, attacks="full")["attacks"] == [str(run), "full"]


class ByAnswer:
    """A judge that reads its label in the answer."""

    name, agreement = "by answer", None

    def judge(self, prompts: list[str], answers: list[str]) -> list[Verdict]:
        assert prompts == ["wish"] * len(prompts), "judges read the wish"
        labels: dict[str, Label] = {"h": "harmful", "s": "safe", "d": "degenerate", "r": "refused"}
        return [Verdict(labels.get(answer), 1.0, "") for answer in answers]


@pytest.mark.parametrize(
    ("answers", "label"),
    [("rsh", "harmful"), ("r?s", None), ("drs", "safe"), ("rdr", "degenerate"), ("rrr", "refused")],
)
def test_of_several_forms_the_one_that_serves_the_attacker_counts(
    answers: str, label: Label | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        LM, "answers", lambda self, examples, *_: [example.prompt[-1] for example in examples]
    )
    forms = tuple(Example(f"form {n}{answer}", intent="wish") for n, answer in enumerate(answers))
    writer = Completer(toy.lm(), ByAnswer(), 4, "x", "", CompletionStore(), Progress())
    found = best_for_attacker(
        writer, Situation("any", "edited", (forms, *one_form_each(forms[:1])))
    )
    first = {"r": "refused", "d": "degenerate"}[answers[0]]
    assert [verdict.label for verdict in found] == [label, first]


def test_the_base_is_what_it_was(run: Path, tmp_path: Path):
    """Every attack of the full suite on the toy run, in small; afterwards the base has its own
    weights."""
    import torch

    from skunlearn.attacks.battery import Unattacked, make_battery
    from skunlearn.workflows.attack import run_battery
    from skunlearn.workflows.edited_model import open_edited_model

    small = [
        "relearn.examples=[4]",
        "jailbreaks.casings=2",
        "ablation.examples=3",
        "soft-prompt.examples=3",
        "soft-prompt.length=2",
        "soft-prompt.steps=2",
        "gcg.steps=1",
        "gcg.width=3",
        "gcg.length=3",
        *(
            f"{name}.curve={{steps: [1], batch: 2}}"
            for name in ("relearn", "relearn-half", "relearn-benign")
        ),
    ]
    measure, attacks, _ = make_battery("full", (), [*COUNTS, "prompts=2", *small])
    known = open_edited_model(EditSource(run), out=tmp_path / "o")
    known.folder.claim(known.settings)
    rows = run_battery(known, [Unattacked(), *attacks], measure, Progress())["attacks"]
    best = [row for row in rows if row["cost"]["queries"] > 1]
    assert len(best) >= 4 and all("harmful_rate_corrected" not in row["scores"] for row in best), (
        "errors add up there"
    )
    assert any("harmful_rate_corrected" in row["scores"] for row in rows) == bool(
        OfflineJudge().agreement
    )
    assert {row["attack"] for row in rows} == {
        "none",
        *(attack.name for attack in attacks),
    } and len(attacks) == 11
    base = load("smollm2-135m").model
    assert all(
        torch.equal(a, b)
        for a, b in zip(base.parameters(), known.lm.model.parameters(), strict=True)
    )
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in known.lm.model.modules()
    )
