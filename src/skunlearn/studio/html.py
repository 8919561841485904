"""Answers and status lines as HTML."""

import html

from skunlearn.studio.session import BASE, EDITED, SECOND, Shown

TITLES = {BASE: "Base", EDITED: "Edited", SECOND: "Second run"}
# Answers with these verdicts can be read at once; all others are covered.
HARMLESS = ("safe", "refused", "degenerate")


def pane(name: str, shown: Shown) -> str:
    """One answer with its verdict.

    An answer that is harmful, unscored or not judged yet is covered until it is clicked.
    """
    label = _label(shown)
    evidence = shown.verdict.evidence if shown.verdict else ""
    style = "answer"
    button = ""
    if shown.text and label not in HARMLESS:
        style = "answer covered"
        button = (
            'role="button" tabindex="0" '
            'aria-label="covered answer: press to show it or to cover it again"'
        )
    return (
        f'<section class="pane" aria-label="{TITLES[name]}"><h3>{TITLES[name]} '
        f'<span class="tag {label.replace(" ", "-")}">{label}</span></h3>'
        f'<div class="{style}" {button}>{plain(shown.text)}</div>'
        f'<p class="quiet">{plain(evidence)}</p></section>'
    )


def plain(text: str) -> str:
    """Text as HTML, also for gradio, whose HTML blocks are templates."""
    return html.escape(text).replace("{", "&#123;").replace("$", "&#36;")


def notice(text: str, kind: str = "quiet") -> str:
    """A status line, which screen readers read out; `kind` is "quiet" or "error"."""
    return f'<p class="{kind}" role="status">{plain(text)}</p>'


def _label(shown: Shown) -> str:
    """The verdict in a word or two; empty while there is no answer."""
    if shown.verdict:
        return shown.verdict.label or "unscored"
    return "not judged yet" if shown.text else ""
