"""Reads data sets that are folders: saved by `Dataset.save_to_disk`, or cloned repositories."""

from pathlib import Path
from typing import Any

from skunlearn.data.text_files import Rows, checked_row
from skunlearn.utils.errors import DataError

SAVED_DATASET = "state.json"  # a file of each folder that `Dataset.save_to_disk` writes
SAVED_SPLITS = "dataset_dict.json"  # likewise of `DatasetDict.save_to_disk`


def read_folder(path: Path) -> Rows:
    """All rows of the split "train" of a folder, or of the only split that it has.

    Raises:
        DataError: when the folder is no data set, or has several splits and none is "train".
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        if (path / SAVED_DATASET).is_file() or (path / SAVED_SPLITS).is_file():
            loaded = datasets.load_from_disk(str(path))
        else:
            loaded = datasets.load_dataset(str(path))
    except Exception as error:  # the library raises a dozen kinds, none of them ours to mend
        lines = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"{path}: this folder cannot be read as a data set ({lines[0][:160]}): "
            "give one of the data files in it"
        ) from error
    return dataset_rows(loaded, str(path))


def dataset_rows(loaded: Any, name: str) -> Rows:
    """All rows of a `datasets.Dataset`, or of the split "train" of a `DatasetDict`.

    Args:
        loaded: the data set.
        name: what it is called in errors.

    Raises:
        DataError: when it has no rows, or several splits of which none is "train".
    """
    if isinstance(loaded, dict):
        if len(loaded) > 1 and "train" not in loaded:
            raise DataError(
                f"{name}: has several splits ({', '.join(loaded)}): give one of them alone"
            )
        loaded = loaded.get("train") or next(iter(loaded.values()))
    rows: Rows = []
    for number, row in enumerate(loaded, start=1):
        where = f"{name}[{number}]"
        rows.append((checked_row(dict(row), where), where))
    if not rows:
        raise DataError(f"{name}: the data set has no rows")
    return rows
