"""Where a data set is from: a file, rows in memory, the hub, or a hub set with a short name."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from skunlearn.data.columns import Columns
from skunlearn.data.memory import Given, is_in_memory, rows_in_memory
from skunlearn.data.readers import SUFFIXES, read_hub, read_rows
from skunlearn.data.text_files import Rows, form_of


@dataclass(frozen=True)
class Source:
    """A hub data set and how it is read.

    Attributes:
        hub: its id, "owner/name".
        split: which of the hub's splits; it is split again by prompt.
        config: which of its configurations, for a set that has several.
        columns: its columns, where their names do not say enough.
    """

    hub: str
    split: str = "train"
    config: str | None = None
    columns: Columns = Columns()


SOURCES = {
    "pku-saferlhf": Source("PKU-Alignment/PKU-SafeRLHF"),
    "beavertails": Source("PKU-Alignment/BeaverTails", split="30k_train"),
    "truthfulqa": Source(
        "truthfulqa/truthful_qa",
        "validation",
        "generation",
        Columns(prompt="question", answer="correct_answers"),
    ),
    "advbench": Source("walledai/AdvBench", columns=Columns(prompt="prompt", answer="target")),
    "alpaca": Source("tatsu-lab/alpaca"),
    "dolly": Source(
        "databricks/databricks-dolly-15k", columns=Columns(prompt="instruction", answer="response")
    ),
}


def is_same_source(forget: Given | None, retain: Given | None) -> bool:
    """Whether both sets are read from the same file, source or object."""
    if forget is None or retain is None:
        return False
    if is_in_memory(forget) or is_in_memory(retain):
        return forget is retain
    one = str(forget)
    other = str(retain)
    return one == other or Path(one).resolve() == Path(other).resolve()


def read_source(given: Given, named: Columns, side: str) -> tuple[str, Rows, Columns]:
    """What a set is called, its rows, and the columns to read in them.

    Args:
        given: what the user gave as the forget or retain set.
        named: the columns that the user has named.
        side: which set it is.
    """
    if not isinstance(given, str | PathLike):
        name = f"the given {side} set"
        return name, rows_in_memory(given, name), named
    name = str(given)
    path = Path(name)
    if name in SOURCES and not path.is_file():
        source = SOURCES[name]
        rows = read_hub(source.hub, source.config, source.split)
        return name, rows, named.over(source.columns)
    # The id of a hub data set has one slash, as in "owner/name".
    is_hub_id = name.count("/") == 1
    if form_of(path) in SUFFIXES or path.exists() or not is_hub_id:
        return name, read_rows(path), named
    return name, read_hub(name, None, "train"), named
