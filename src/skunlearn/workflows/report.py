"""The page and the figure of a folder that has results already."""

from pathlib import Path

from skunlearn.report.paper_figure import write_figure
from skunlearn.report.run_page import write_attacks, write_report
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import read_json


def report_again(folder: Path, figure: Path | None = None) -> list[Path]:
    """Write `report.html` from `results.json` and, if there is one, `attacks.json`; and the main
    figure.

    Args:
        folder: of a run, an evaluation, or attacks alone, whose page is `attacks.html`.
        figure: where the figure goes (.pdf, .png, .svg); none when not given.

    Returns:
        What was written.

    Raises:
        RunError: when there are no results.
        ConfigError: when the figure cannot be drawn.
    """
    results, attacks = read_json(folder / "results.json"), read_json(folder / "attacks.json")
    if results is None and attacks and not figure:
        write_attacks(attacks, folder / "attacks.html")
        return [folder / "attacks.html"]
    if results is None:
        raise RunError(
            f"{folder}: no results.json here: give the folder of a finished run or evaluation"
        )
    results |= {"attacks": (attacks or {}).get("attacks", [])}
    if figure:
        write_figure(results, figure)
    write_report(results, folder / "report.html")
    return [folder / "report.html", *([figure] if figure else [])]
