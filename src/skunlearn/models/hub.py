"""Files of a repository on the hub: whether one is there, and a local folder with some of them."""

from collections.abc import Sequence
from pathlib import Path


def has_file(repository: str, name: str, revision: str | None, token: bool | None) -> bool:
    """Return whether a repository has a file. Without a connection, the hub's cache is asked.

    Args:
        repository: hub id.
        name: of the file.
        revision: branch, tag or commit.
        token: False sends no token, None sends a stored one if there is one.
    """
    from huggingface_hub import file_exists, try_to_load_from_cache

    try:
        return file_exists(repository, name, revision=revision, token=token)
    except Exception:  # the hub client raises a dozen kinds, and loading the model reports them
        return isinstance(try_to_load_from_cache(repository, name, revision=revision), str)


def download(
    repository: str, patterns: Sequence[str], revision: str | None, token: bool | None
) -> Path:
    """Return the local folder with the files of a repository that match these patterns.

    Args:
        repository: hub id.
        patterns: of file names.
        revision: branch, tag or commit.
        token: False sends no token, None sends a stored one if there is one.
    """
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(repository, revision=revision, token=token, allow_patterns=list(patterns))
    )
