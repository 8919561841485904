"""The entries of a comparison: named settings, all under one harness."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.settings import flat, merged, read_run, to_yaml, with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.presets import read_preset

# What every entry starts from: strengths that suit no method in particular.
COMMON: JsonDict = {"edit": {"alphas": [0.5, 0.75, 1.0, 1.5]}}
PLAIN: dict[str, JsonDict] = {"negation": {"refuse": {"weight": 0.0}}}  # as its paper has it
HARNESS = ("model", "forget", "retain", "load", "data", "evaluate", "gates")
OWN = ("preset", "seeds")  # keys of an entry that are no settings of a run


@dataclass(frozen=True)
class Entry:
    """One line of the comparison.

    Attributes:
        name: of its line and folder.
        run: its settings.
        seeds: how often it is run, 1 or more.
        own: what was said of this entry alone, for the reader.
    """

    name: str
    run: Run
    seeds: int
    own: JsonDict

    def seeded(self, number: int) -> Run:
        """The run of one seed: other rows and other random factors, the same split."""
        train, refuse = self.run.train, self.run.refuse
        return replace(
            self.run,
            train=replace(train, seed=train.seed + number * self.run.vectors),
            refuse=replace(refuse, train=replace(refuse.train, seed=refuse.train.seed + number)),
        )


def read_entries(
    methods: str | None,
    file: Path | None,
    common: JsonDict | None = None,
    sets: Sequence[str] = (),
    seeds: int = 1,
) -> list[Entry]:
    """The entries of `--methods` and `--file`, in this order.

    Args:
        methods: `name` or `name:key=value;key=value`, with commas between; the method is what
            stands before the name's first dash unless `method` or `preset` is among the keys.
        file: YAML, name -> settings as in a run file, and perhaps `preset` and `seeds`.
        common: settings of all.
        sets: the same as `key=value`.
        seeds: of the entries that say nothing of their own.

    Raises:
        ConfigError: when there is none, a name is taken twice, or one is measured in another way
            than the others.
    """
    given = [_from_text(text) for text in split(methods or "", ",")]
    given += list(read_run(file).items()) if file else []
    if not given:
        raise ConfigError("nothing to compare: give --methods sku,negation or --file FILE")
    entries = [_entry(str(name), own, with_sets(common or {}, sets), seeds) for name, own in given]
    names = [entry.name for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"two entries are called '{twice[0]}': give one another name, as in {twice[0]}-2:train.lr=1e-4"
        )
    for entry in entries[1:]:
        _check_harness(entries[0], entry)
    return entries


def entries_yaml(entries: Iterable[Entry]) -> str:
    """A file that gives these very entries, whatever they were made from."""
    return to_yaml({entry.name: entry.run.as_dict() | {"seeds": entry.seeds} for entry in entries})


def split(text: str, mark: str) -> list[str]:
    """The parts between marks; those inside brackets divide nothing."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == mark and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _from_text(text: str) -> tuple[str, JsonDict]:
    name, _, sets = text.partition(":")
    return name.strip(), with_sets({}, split(sets, ";"))


def _entry(name: str, own: JsonDict | None, common: JsonDict, seeds: int) -> Entry:
    if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
        raise ConfigError(
            f"'{name}' cannot name an entry: use letters, digits, dots, dashes and underscores"
        )
    if not isinstance(own or {}, dict):
        raise ConfigError(f"entry '{name}': expected a section of keys, found {own!r}")
    own = dict(own or {})
    seeds = own.get("seeds", seeds)
    if not isinstance(seeds, int) or seeds < 1:
        raise ConfigError(f"entry '{name}': seeds={seeds!r}: give 1 or more")
    preset = (
        read_preset(str(own["preset"])) if "preset" in own else {"method": name.partition("-")[0]}
    )
    settings = {key: value for key, value in own.items() if key not in OWN}
    method = named_method(merged(merged(preset, common), settings))
    layers = (COMMON, PLAIN.get(method, {}), preset, common, settings)
    tree: JsonDict = {}
    for layer in layers:
        tree = merged(tree, layer)
    try:
        return Entry(name, make_run(tree), seeds, own)
    except ConfigError as error:
        raise ConfigError(f"entry '{name}': {error}") from error


def named_method(tree: JsonDict) -> str:
    """The method's name in a tree of settings."""
    method = tree.get("method", {})
    return str(method if isinstance(method, str) else method.get("name", ""))


def _check_harness(first: Entry, other: Entry) -> None:
    """All entries are measured on the same prompts, in the same way, with as much choice of the
    strength."""
    one, two = first.run.as_dict(), other.run.as_dict()
    for tree in (one, two):
        tree["edit"] = {
            key: value for key, value in tree["edit"].items() if key not in ("alpha", "filters")
        }
    for part in (*HARNESS, "edit"):
        if one[part] != two[part]:
            differs = sorted(set(flat({part: two[part]})) - set(flat({part: one[part]})))
            raise ConfigError(
                f"entry '{other.name}' has {differs[0] if differs else part}, unlike '{first.name}': what all entries "
                "are measured with is the same for all; give it with --set"
            )
