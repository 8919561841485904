"""Hooks on modules that are removed again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def temporary_hooks(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """A block in which hooks act. They are removed at its end, also after an error.

    Args:
        handles: what `register_forward_hook` and the like return. A generator registers its hooks
            when the block begins; if one cannot be registered, those before it are removed.
    """
    registered: list[RemovableHandle] = []
    try:
        for handle in handles:
            registered.append(handle)
        yield
    finally:
        for handle in registered:
            handle.remove()
