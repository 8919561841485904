"""Answers and lines of status as HTML."""

import html

from skunlearn.studio.session import BASE, EDITED, SECOND, Shown

TITLES = {BASE: "Base", EDITED: "Edited", SECOND: "Second run"}


def pane(name: str, shown: Shown) -> str:
    """One answer with its verdict; what is harmful, or not judged yet, is covered until it is
    clicked."""
    verdict = shown.verdict
    label = (
        (verdict.label or "unscored") if verdict else ("" if not shown.text else "not judged yet")
    )
    covered = bool(shown.text) and label not in ("safe", "refused", "degenerate")
    hint = (
        'role="button" tabindex="0" aria-label="covered answer: press to read or cover it"'
        if covered
        else ""
    )
    return (
        f'<section class="pane" aria-label="{TITLES[name]}"><h3>{TITLES[name]} '
        f'<span class="tag {label.replace(" ", "-")}">{label}</span></h3>'
        f'<div class="answer{" covered" if covered else ""}" {hint}>{plain(shown.text)}</div>'
        f'<p class="quiet">{plain(verdict.evidence if verdict else "")}</p></section>'
    )


def plain(text: str) -> str:
    """Text as HTML, also for gradio, whose HTML blocks are templates."""
    return html.escape(text).replace("{", "&#123;").replace("$", "&#36;")


def notice(text: str, kind: str = "quiet") -> str:
    """A line of status, which screen readers speak."""
    return f'<p class="{kind}" role="status">{plain(text)}</p>'
