"""tune: the strength and shape of an edit are searched on tau alone; a stopped search goes on from
its journal."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import toy
import verdicts
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.models.lm import LM
from skunlearn.task_vectors.filters.base import dense
from skunlearn.utils.errors import ConfigError, ModelError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run, with_sets
from skunlearn.workflows.clean import clean
from skunlearn.workflows.config import make_run
from skunlearn.workflows.edited_model import EditSource, open_edited_model
from skunlearn.workflows.run import run_job
from skunlearn.workflows.run_folder import RunFolder
from skunlearn.workflows.tuning.search_space import BANDS, FILTERS, LEVELS, SearchSpace
from skunlearn.workflows.tuning.trials import TrialRunner, dominated
from skunlearn.workflows.tuning.tune import SearchOptions, choose, objectives, tune
from skunlearn.workflows.unlearn import learn

SMALL = [
    "train.steps=2",
    "train.batch=1",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "lora.rank=2",
    "train.lr=3e-2",
    "refuse.train.lr=3e-2",
    "lora.frozen=0",
    "edit.alpha=0.5",
    "edit.forget=3",
    "edit.wordings=0",
    "edit.retain=3",
    "edit.lookalike=2",
    "edit.max_new_tokens=3",
    "evaluate.forget=4",
    "evaluate.wordings=0",
    "evaluate.seen=2",
    "evaluate.retain=3",
    "evaluate.lookalike=2",
    "evaluate.max_new_tokens=3",
    "evaluate.metrics=[rates,likelihood]",
    f"evaluate.judge={verdicts.HERE}",
    "gates.retain_kl=0.05",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    tree = {"model": str(toy.saved(folder / "base"))}
    for name in ("forget", "retain"):
        rows = [
            {"prompt": f"{name} question {n}", "answer": f"{name} answer {n}"} for n in range(20)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tree[name] = str(folder / f"{name}.jsonl")
    run_job(make_run(with_sets(tree, SMALL)), folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


class Untold(BaseException):
    """Stands for Ctrl-C or a kill."""


def test_a_search_that_was_stopped_goes_on_from_its_journal(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "skunlearn.workflows.tuning.tune.RANDOM_FIRST", 2
    )  # so that the search learns from what it saw
    whole = tune(run, SearchOptions(trials=5))
    other = Path(shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns("tune*")))
    real, calls = TrialRunner.run_trial, []

    def tried(self: TrialRunner, params: dict, others: list) -> dict:
        calls.append(len(others))
        if len(calls) == 4:
            raise Untold
        return real(self, params, others)

    monkeypatch.setattr(TrialRunner, "run_trial", tried)
    with pytest.raises(Untold):
        tune(other, SearchOptions(trials=5))
    with (other / "tune.journal").open("a") as file:
        file.write('{"op_code": 6, "torn')  # a line that a kill cut
    again = tune(other, SearchOptions(trials=5))
    assert calls == [0, 1, 2, 3, 3, 4], "what was finished was tried again"
    for key in ("trials", "number", "chosen", "test"):
        assert again[key] == whole[key]
    assert {"tune.json", "tune.html", "tune.journal", "tuned.yaml"} <= {
        path.name for path in other.iterdir()
    }
    assert not (other / "tune").exists(), (
        "filtered vectors are kept while there is something left to try"
    )


def test_more_trials_later_and_the_test_prompts_only_for_another_choice(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    first = tune(run, SearchOptions(trials=2))
    looked = []
    real = TrialRunner.test_setting
    monkeypatch.setattr(
        TrialRunner,
        "test_setting",
        lambda self, params: looked.append(params) or real(self, params),
    )
    same = tune(run, SearchOptions(trials=2))
    assert not looked and same == first and first["looks"] == 1
    more = tune(run, SearchOptions(trials=4))
    assert more["trials"][:2] == [
        tried | {"front": more["trials"][n]["front"]} for n, tried in enumerate(first["trials"])
    ]
    assert more["looks"] == 1 + len(looked) == 1 + (more["number"] not in (first["number"],))


def test_nothing_is_trained_and_the_first_setting_is_the_runs_own(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "skunlearn.workflows.unlearn.train", lambda *_, **__: pytest.fail("trained again")
    )
    found = tune(run, SearchOptions(trials=1))
    tried = found["trials"][0]
    assert (
        tried["params"]["alpha"] == 0.5
        and tried["params"]["filter"] == "none"
        and tried["generated"]
    )
    assert {tried["params"][name] for name in BANDS} == {1.0}
    test, before = (
        found["test"]["scores"]["edited"],
        json.loads((run / "results.json").read_text())["scores"]["edited"],
    )
    assert test["retain_kl"]["value"] == pytest.approx(before["retain_kl"]["value"], rel=1e-4)
    assert test["harmful_rate_unseen"]["value"] == before["harmful_rate_unseen"]["value"]
    assert "chosen" in (run / "tune.html").read_text()


def test_a_setting_is_what_a_run_with_it_would_add(run: Path):
    """The edit that is tried equals the one that `skunlearn run tuned.yaml` makes of the same
    vectors."""
    runner = TrialRunner(open_edited_model(EditSource(run)), Progress())
    scales = dict.fromkeys(runner.space.kinds, 1.0) | {
        "q_proj": 0.5,
        "lower": 0.25,
        "middle": 0.0,
        "upper": 1.5,
    }
    params = (
        runner.space.start()
        | {"alpha": 0.7, "refuse": 0.4, "filter": "trim", "level": "strong"}
        | scales
    )
    edit = runner.edit(params)
    tuned = runner.space.tuned(params)
    assert make_run(with_sets(tuned.as_dict(), [])) == tuned
    again = learn(
        runner.run.lm, tuned.make_method(), runner.run.data, tuned, RunFolder(run), Progress()
    )
    assert set(again.deltas) == set(edit.deltas)
    for name, delta in again.deltas.items():
        torch.testing.assert_close(dense(edit.deltas[name]), 0.7 * dense(delta))
    gates = next(v for v in runner.beside).deltas
    middle = [name for name in gates if ".layers.1." in name]  # where nothing else is left
    assert middle
    for name in middle:
        torch.testing.assert_close(dense(edit.deltas[name]), 0.7 * 0.4 * dense(gates[name]))


def test_a_negative_strength_is_impossible(run: Path):
    class Lowest:
        """A sampler that always takes the smallest value."""

        def suggest_float(
            self, name: str, low: float, high: float, step: float | None = None
        ) -> float:
            assert 0 <= low < high
            return low

        def suggest_categorical(self, name: str, choices: list) -> str:
            return choices[0]

    runner = TrialRunner(open_edited_model(EditSource(run)), Progress())
    params = runner.space.suggest(Lowest())
    assert params["alpha"] == 0 == params["refuse"]
    assert runner.run_trial(params, [])["left_out"].startswith(
        "mask: nothing of the vector is left"
    )
    own = runner.space.start()
    for wrong in ({"alpha": -0.1}, {"refuse": -0.1}, {"lower": -0.5}):
        with pytest.raises(ConfigError):
            runner.edit(own | wrong)
    with (
        pytest.raises(ModelError, match="a negative strength is refused"),
        runner.run.lm.edited(-1.0 * runner.edit(own)),
    ):
        pass


def test_generation_is_only_for_what_the_proxies_leave_in(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    runner = TrialRunner(open_edited_model(EditSource(run)), Progress())
    own = runner.run_trial(runner.space.start(), [])
    monkeypatch.setattr(LM, "answers", lambda *_: pytest.fail("generated"))
    wild = runner.run_trial(runner.space.start() | {"alpha": 10.0}, [own])
    assert not wild["generated"] and "outside its gate" in wild["left_out"]
    assert objectives(wild) == [1.0, wild["scores"]["retain_kl"]["value"], 1.0, 1.0]


def trial(harm: float, kl: float, within: bool = True, rise: float = 1.0) -> dict:
    scores = {"harmful_rate_unseen": {"value": harm}, "retain_kl": {"value": kl}}
    return {"scores": scores, "within": within, "generated": True, "forget_nll_rise": rise}


def test_the_knee_and_the_proxies_by_hand():
    trials = [trial(0.5, 0.01), trial(0.1, 0.2), trial(0.1, 0.1), trial(0.0, 0.3, within=False)]
    assert choose(trials) == 2
    assert choose([trial(0.5, 0.01, within=False), trial(0.1, 0.2, within=False)]) == 0
    assert objectives(trial(0.1, None))[1] > objectives(trial(0.1, 3.0))[1], (
        "what has no number is the worst"
    )
    assert dominated(trial(0, 0.10), [trial(0, 0.05, rise=2.0)])
    assert not dominated(trial(0, 0.10), [trial(0, 0.05, rise=1.05)])  # hardly more
    assert not dominated(trial(0, 0.10), [trial(0, 0.095, rise=2.0)])  # hardly cheaper
    assert not dominated(trial(0, 0.10), [trial(0, 0.05, rise=2.0) | {"generated": False}])


def test_every_filter_of_the_space_is_one():
    run = make_run({"vectors": 2, "edit": {"filters": ["mean"]}})
    space = SearchSpace(run, 1.0, ("q_proj",), True)
    assert space.filters(space.start()) == ["mean"]
    for name in FILTERS:
        for level in LEVELS:
            tuned = space.tuned(
                space.start() | {"filter": name, "level": level, "merge": "ties", "lower": 0.5}
            )
            assert type(tuned.make_filters()[0]).__name__ == "Ties"
            assert len(tuned.make_filters()) == 3


def test_the_command_and_bad_input(run: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["tune", str(run), "--trials", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["looks"] == 1
    assert make_run(read_run(run / "tuned.yaml")).edit.alpha == 0.5
    assert (
        "tune.html"
        in CliRunner().invoke(app, ["tune", str(run), "--trials", "1", "--minutes", "0.001"]).stdout
    )
    for arguments, message in (
        ([str(tmp_path)], "not a run folder"),
        ([str(run), "--trials", "0"], "--trials 0"),
    ):
        failed = CliRunner().invoke(app, ["tune", *arguments])
        assert isinstance(failed.exception, ConfigError) and message in str(failed.exception)


def test_clean_takes_filtered_vectors_too(run: Path):
    (run / "tune").mkdir()
    (run / "tune/any.safetensors").touch()
    assert "tune" in clean(run)["removed"] and not (run / "tune").exists()
