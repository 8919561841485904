"""Write the page and the figure of a folder that has results already."""

from pathlib import Path

from skunlearn.report.paper_figure import write_figure
from skunlearn.report.run_page import write_attacks, write_report
from skunlearn.utils.errors import RunError
from skunlearn.utils.files import read_json
from skunlearn.workflows.stored_results import read_results


def report_again(folder: Path, figure: Path | None = None) -> list[Path]:
    """Write the report from `results.json` and, where there is one, `attacks.json`.

    Args:
        folder: of a run or of an evaluation, whose page is `report.html`; or of attacks alone,
            whose page is `attacks.html`.
        figure: where the main figure is written (.pdf, .png, .svg); none when not given.

    Returns:
        The files that were written.

    Raises:
        RunError: when there are no results.
        ConfigError: when the figure cannot be drawn.
    """
    results = read_results(folder)
    attacks = read_json(folder / "attacks.json")
    if results is None and attacks and not figure:
        write_attacks(attacks, folder / "attacks.html")
        return [folder / "attacks.html"]
    if results is None:
        raise RunError(
            f"{folder}: no results.json here: give the folder of a finished run or evaluation"
        )

    results["attacks"] = attacks.get("attacks", []) if attacks else []
    written = [folder / "report.html"]
    if figure:
        write_figure(results, figure)
        written.append(figure)
    write_report(results, folder / "report.html")
    return written
