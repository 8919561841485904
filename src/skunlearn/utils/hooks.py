"""Hooks on modules that are taken off again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def temporary_hooks(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """A block inside which these hooks act; they are removed at its end, also after an error.

    Args:
        handles: what `register_forward_hook` and its relatives return. A generator registers its hooks as the block
            begins; where one cannot be registered, those before it are removed.
    """
    registered: list[RemovableHandle] = []
    try:
        for handle in handles:
            registered.append(handle)
        yield
    finally:
        for handle in registered:
            handle.remove()
