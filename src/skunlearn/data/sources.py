"""Data sets of the Hugging Face hub that have a short name here."""

from dataclasses import dataclass

from skunlearn.data.columns import Columns


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
