"""The comparison behind docs/results.md: test and `final` prompts together. Nothing else reads the
`final` prompts.

    python scripts/results.py [--file configs/methods.yaml] [--out comparisons/results] [--set
    section.key=value ...]

Choose everything before: settings that were changed after a look at these numbers make them
validation numbers. A second call with the same settings goes on with what is left, or only reads.
"""

import argparse
from pathlib import Path

from skunlearn.cli.progress import terminal_progress
from skunlearn.report.comparison import markdown
from skunlearn.workflows.comparison.budget import Budget
from skunlearn.workflows.comparison.compare import compare
from skunlearn.workflows.comparison.entries import read_entries

ALL = ["evaluate.forget=180", "evaluate.seen=60", "evaluate.retain=161", "evaluate.lookalike=122"]


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, default=Path("configs/methods.yaml"))
    parser.add_argument("--out", type=Path, default=Path("comparisons/results"))
    parser.add_argument("--budget", default="equal-steps")
    parser.add_argument("--steps", type=int, default=Budget.steps)
    parser.add_argument("--batch", type=int, default=Budget.batch)
    parser.add_argument(
        "--seeds", type=int, default=1, help="of the entries that say nothing of their own"
    )
    parser.add_argument("--set", dest="sets", action="append", default=[])
    given = parser.parse_args()
    entries = read_entries(None, given.file, {}, [*ALL, *given.sets], given.seeds)
    budget = Budget(given.budget, given.steps, given.batch)
    print(markdown(compare(entries, budget, given.out, terminal_progress(), final=True)))


if __name__ == "__main__":
    main()
