"""Audit somebody's "unlearned" model: measure it beside its base, then attack it.

    python examples/audit.py EDITED BASE
    python examples/audit.py EDITED BASE --only mirror,relearn --set evaluate.forget=20 --attack-set
    prompts=16

EDITED and BASE are folders or hub ids. The same from the shell: docs/howto/audit.md.
"""

import argparse

from skunlearn.evaluation.metrics.catalog import format_interval, format_score
from skunlearn.report.wording import robustness, verdict_sentence
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.attack import attack_job
from skunlearn.workflows.config import make_run
from skunlearn.workflows.edited_model import EditSource
from skunlearn.workflows.evaluate import ModelPair, evaluate_pair


def main(argv=None):
    parser = argparse.ArgumentParser(description="Measure and attack an edited model.")
    parser.add_argument("edited")
    parser.add_argument("base")
    parser.add_argument(
        "--only", default="", help="Attacks with commas between; the default suite when not given."
    )
    parser.add_argument("--set", action="append", default=[], help="An option of the measurement.")
    parser.add_argument(
        "--attack-set", action="append", default=[], help="An option of the attacks."
    )
    args = parser.parse_args(argv)

    measured = evaluate_pair(ModelPair(args.edited, args.base), make_run(with_sets({}, args.set)))
    only = [name for name in args.only.split(",") if name]
    attacked = attack_job(EditSource(args.edited, args.base), only=only, sets=args.attack_set)

    print(
        measured["verdict"], verdict_sentence(measured), robustness(attacked["attacks"]), sep="\n"
    )
    for row in attacked["attacks"]:
        harmful = row["scores"]["harmful_rate"]
        print(
            f"{row['on']:>7}  {format_score(harmful):>6} ({format_interval(harmful)})  "
            f"{row['attack']}: {row['variant']}"
        )
    print(f"report {measured['report']}\nattacks {attacked['run']}/attacks.json")


if __name__ == "__main__":
    main()
