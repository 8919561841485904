"""The entries of a comparison: named settings that are all measured in the same way."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict
from skunlearn.utils.settings import flat, merged, read_run, to_yaml, with_sets
from skunlearn.workflows.config import Run, make_run
from skunlearn.workflows.presets import read_preset

# Every entry starts from these strengths, which favour no method.
COMMON: JsonDict = {"edit": {"alphas": [0.5, 0.75, 1.0, 1.5]}}
# Negation is compared as in its paper, without a refusal vector.
PLAIN: dict[str, JsonDict] = {"negation": {"refuse": {"weight": 0.0}}}
# The sections that must be the same for all entries.
HARNESS = ("model", "forget", "retain", "load", "data", "evaluate", "gates")
# Keys of an entry that are not settings of a run.
OWN = ("preset", "seeds")


@dataclass(frozen=True)
class Entry:
    """One row of the comparison.

    Attributes:
        name: of the row, and of the folder of its runs.
        run: its settings.
        seeds: how many runs it has, each with other seeds; 1 or more.
        own: the settings that were given for this entry alone, for the reader.
    """

    name: str
    run: Run
    seeds: int
    own: JsonDict

    def seeded(self, number: int) -> Run:
        """The run with this number: other training rows and other random factors, the same split.

        Args:
            number: from 0.
        """
        train = self.run.train
        refuse = self.run.refuse
        refuse_train = replace(refuse.train, seed=refuse.train.seed + number)
        return replace(
            self.run,
            train=replace(train, seed=train.seed + number * self.run.vectors),
            refuse=replace(refuse, train=refuse_train),
        )


def read_entries(
    methods: str | None,
    file: Path | None,
    common: JsonDict | None = None,
    sets: Sequence[str] = (),
    seeds: int = 1,
) -> list[Entry]:
    """The entries of `--methods` and of `--file`, in this order.

    Args:
        methods: `name` or `name:key=value;key=value`, separated by commas. The method is the part
            of the name before its first dash, unless `method` or `preset` is among the keys.
        file: YAML, name -> settings as in a run file, and perhaps `preset` and `seeds`.
        common: settings of all entries.
        sets: the same as `key=value`.
        seeds: how many runs the entries have that name no `seeds` of their own.

    Raises:
        ConfigError: when there is no entry, a name is used twice, or one entry would be measured
            in another way than the others.
    """
    given = [_read_text(text) for text in split(methods or "", ",")]
    if file:
        given += list(read_run(file).items())
    if not given:
        raise ConfigError("nothing to compare: give --methods sku,negation or --file FILE")
    shared = with_sets(common or {}, sets)
    entries = [_make_entry(str(name), own, shared, seeds) for name, own in given]

    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise ConfigError(
                f"two entries are called '{entry.name}': give one another name, as in "
                f"{entry.name}-2:train.lr=1e-4"
            )
        names.add(entry.name)
    for entry in entries[1:]:
        _check_harness(entries[0], entry)
    return entries


def entries_yaml(entries: Iterable[Entry]) -> str:
    """A file with exactly these entries, which `read_entries` reads."""
    return to_yaml({entry.name: entry.run.as_dict() | {"seeds": entry.seeds} for entry in entries})


def split(text: str, mark: str) -> list[str]:
    """The parts of a text between marks, without empty ones. Marks inside brackets do not count."""
    depth = 0
    parts = [""]
    for letter in text:
        if letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == mark and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _read_text(text: str) -> tuple[str, JsonDict]:
    """Name and settings of an entry of `--methods`."""
    name, _, sets = text.partition(":")
    return name.strip(), with_sets({}, split(sets, ";"))


def _make_entry(name: str, own: JsonDict | None, common: JsonDict, seeds: int) -> Entry:
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

    if "preset" in own:
        preset = read_preset(str(own["preset"]))
    else:
        preset = {"method": name.partition("-")[0]}
    settings = dict(own)
    for key in OWN:
        settings.pop(key, None)
    method = named_method(merged(merged(preset, common), settings))

    # Later layers override earlier ones.
    tree: JsonDict = {}
    for layer in (COMMON, PLAIN.get(method, {}), preset, common, settings):
        tree = merged(tree, layer)
    try:
        return Entry(name, make_run(tree), seeds, own)
    except ConfigError as error:
        raise ConfigError(f"entry '{name}': {error}") from error


def named_method(tree: JsonDict) -> str:
    """The method's name in a tree of settings; empty when it has none."""
    method = tree.get("method", {})
    if isinstance(method, str):
        return method
    return str(method.get("name", ""))


def _check_harness(first: Entry, other: Entry) -> None:
    """Check that two entries have the same prompts and metrics, and as much choice of the strength.

    Raises:
        ConfigError: when they differ.
    """
    one = _harness(first)
    two = _harness(other)
    for section in one:
        if one[section] != two[section]:
            its_values = set(flat({section: two[section]}))
            differing = sorted(its_values - set(flat({section: one[section]})))
            shown = differing[0] if differing else section
            raise ConfigError(
                f"entry '{other.name}' has {shown}, unlike '{first.name}': what all entries are "
                "measured with is the same for all; give it with --set"
            )


def _harness(entry: Entry) -> JsonDict:
    """The settings of an entry that must be the same for all."""
    tree = entry.run.as_dict()
    harness = {section: tree[section] for section in HARNESS}
    # An entry may fix its strength and have filters of its own.
    edit = dict(tree["edit"])
    del edit["alpha"], edit["filters"]
    harness["edit"] = edit
    return harness
