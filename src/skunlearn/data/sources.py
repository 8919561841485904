"""Data sets known by name: where they live on the hub and which columns they have."""

from dataclasses import dataclass

from skunlearn.data.columns import Columns


@dataclass(frozen=True)
class Source:
    """A hub data set and how to read it."""

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
