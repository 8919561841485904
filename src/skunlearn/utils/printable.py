"""Text of others on a terminal: no character may move the cursor, set the title or the clipboard.

Prompts, labels, columns, file names and names of judges come from files of others. A terminal takes
control characters in them for orders.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Control characters but tab and line break, C1 controls, the marks that turn the direction of
# writing, and halves of characters, which no terminal can show.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: Any) -> str:
    """A text in which characters that a terminal would obey are written out, as in `\\x1b`."""
    return UNSAFE.sub(_written_out, str(text))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class PlainStream:
    """A text stream that writes `printable` text alone.

    Args:
        raw: where it is written.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write a text."""
        self.raw.write(printable(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_stream(stream: Any) -> TextIO:
    """The stream behind a plain one, for colours and bars, whose texts must be printable."""
    return cast(TextIO, stream.raw if isinstance(stream, PlainStream) else stream)


@contextmanager
def plain_streams() -> Iterator[None]:
    """A block inside which standard output and standard error are plain streams."""
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, PlainStream(raw_stream(sys.stdout)))
    sys.stderr = cast(TextIO, PlainStream(raw_stream(sys.stderr)))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
