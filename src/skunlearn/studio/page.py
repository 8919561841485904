"""The studio's page: it lays out and wires, `session` does the work. Needs gradio."""

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

from skunlearn.studio.edits import AS_RUN, PRESETS
from skunlearn.studio.flags import WANTED
from skunlearn.studio.html import TITLES, notice, pane, plain
from skunlearn.studio.session import EDITED, FORMATS, STRONGEST, Session, Shown
from skunlearn.utils.errors import SkunlearnError

CLIENTS = 4  # that take turns; more wait
WAITING = 32
OPEN = """() => {
  const toggle = (event) => {
    const answer = event.target.closest && event.target.closest('.answer.covered');
    if (!answer || (event.type === 'keydown' && !['Enter', ' '].includes(event.key))) return;
    event.preventDefault();
    answer.closest('.pane-box').classList.toggle('open');
  };
  document.addEventListener('click', toggle);
  document.addEventListener('keydown', toggle);
}"""


def build(session: Session) -> Any:
    """The page as gradio blocks, not yet served."""
    import gradio as gr

    with gr.Blocks(title="skunlearn studio", analytics_enabled=False) as page:
        gr.HTML(_head(session))
        with gr.Row(equal_height=True):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="Enter asks, Shift+Enter begins a line",
                lines=1,
                max_lines=8,
                scale=5,
                min_width=300,
                elem_id="prompt",
            )
            with gr.Column(scale=1, min_width=120):
                ask = gr.Button("Ask", variant="primary", elem_id="ask")
                stop = gr.Button("Stop", elem_id="stop")
        with gr.Row():
            alpha = gr.Slider(
                0,
                STRONGEST,
                value=min(measured_strength(session), STRONGEST),
                step=0.05,
                label="Strength (alpha)",
                info="0 is the base",
                elem_id="alpha",
                scale=3,
                min_width=300,
                buttons=[],
            )
            preset = gr.Dropdown(
                list(PRESETS),
                value=AS_RUN,
                label="Filter",
                info="on the method's vector",
                elem_id="preset",
                scale=2,
                min_width=300,
            )
        status = gr.HTML(notice(""), elem_id="status")
        panes = []
        with gr.Row():
            for name in session.names:
                with gr.Column(min_width=300, elem_classes="pane-box"):
                    panes.append(gr.HTML(pane(name, Shown()), elem_id=f"pane-{name}"))
        last = gr.State(None)
        _ask_part(
            gr, page, Asking(session), [prompt, alpha, preset], [*panes, last, status], ask, stop
        )
        _flag_part(gr, page, session, last)
        _export_part(gr, session, alpha, preset)
    return page.queue(default_concurrency_limit=CLIENTS, max_size=WAITING, api_open=False)


class Asking:
    """What each client asked last: an older stream of the same client ends at its next turn.

    Args:
        session: gives the answers.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.latest: dict[str, object] = {}

    def ask(
        self, client: str, prompt: str, alpha: float, preset: str
    ) -> Iterator[list[Any] | None]:
        """All panes, what can be flagged, and a line of status, again after each turn; None once it
        is out of date."""
        ticket = self.latest[client] = object()
        shown = {name: Shown() for name in self.session.names}
        line = notice("answering ...")
        try:
            yield self._all(shown, None, line)
            for shown in self.session.answer(prompt, alpha, preset):
                if self.latest.get(client) is not ticket:
                    yield None
                    return
                yield self._all(shown, (prompt, shown), line)
            yield self._all(shown, (prompt, shown), notice(f"strength {alpha:g}, {preset}"))
        except SkunlearnError as error:
            yield self._all(shown, None, notice(str(error), "error"))
        finally:
            if self.latest.get(client) is ticket:
                del self.latest[client]

    def stop(self, client: str) -> None:
        """The client wants no more, or has left."""
        self.latest.pop(client, None)

    @staticmethod
    def _all(shown: dict[str, Shown], last: Any, line: str) -> list[Any]:
        return [*(pane(name, one) for name, one in shown.items()), last, line]


def measured_strength(session: Session) -> float:
    """The run's own."""
    return float(session.edits[EDITED].source.results["alpha"])


def style() -> str:
    """The page's own style sheet."""
    return files("skunlearn.studio").joinpath("page.css").read_text(encoding="utf-8")


def _head(session: Session) -> str:
    runs = []
    for name, edits in session.edits.items():
        results, folder = edits.source.results, plain(edits.source.folder.name)
        verdict = plain(str(results["verdict"]))
        runs.append(f"{TITLES[name]}: <b>{folder}</b>, {verdict} at strength {results['alpha']:g}")
    return (
        f"<header><h1>skunlearn studio: {plain(session.lm.name)}</h1><p>{'<br>'.join(runs)}</p>"
        f'<p class="quiet">Verdicts by {plain(session.judge.name)}, of single answers: the report has the rates. '
        "Answers that are harmful or not judged yet are covered: click, or press Enter, to read them.</p></header>"
    )


def _ask_part(
    gr: Any, page: Any, asking: Asking, inputs: list[Any], outputs: list[Any], ask: Any, stop: Any
) -> None:
    prompt, alpha, preset = inputs

    def answer(prompt: str, alpha: float, preset: str, request: gr.Request) -> Iterator[list[Any]]:
        for values in asking.ask(str(request.session_hash), prompt, alpha, preset):
            yield values or [gr.skip()] * len(outputs)

    def again(prompt: str, alpha: float, preset: str, request: gr.Request) -> Iterator[list[Any]]:
        if prompt.strip():  # the slider may be moved before anything is asked
            yield from answer(prompt, alpha, preset, request)

    def stopped(request: gr.Request) -> str:
        asking.stop(str(request.session_hash))
        return notice("stopped")

    def left(request: gr.Request) -> None:
        asking.stop(str(request.session_hash))

    common: Any = {
        "inputs": inputs,
        "outputs": outputs,
        "concurrency_limit": CLIENTS,
        "concurrency_id": "ask",
        "trigger_mode": "multiple",
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    gr.on([ask.click, prompt.submit], answer, **common)
    gr.on([alpha.release, preset.input], again, **common)
    stop.click(stopped, outputs=outputs[-1], show_progress="hidden", api_visibility="private")
    page.unload(left)


def _flag_part(gr: Any, page: Any, session: Session, last: Any) -> None:
    with gr.Accordion("Flag an answer", open=False, elem_id="flag-part"):
        with gr.Row():
            who = gr.Radio(
                [(TITLES[n], n) for n in session.names],
                value=EDITED,
                label="The answer of",
                elem_id="who",
            )
            wanted = gr.Radio(
                [("harmful: to forget", WANTED[0]), ("safe: to keep", WANTED[1])],
                value=WANTED[0],
                label="It is",
                elem_id="wanted",
            )
        button = gr.Button("Flag", elem_id="flag")
        note = gr.HTML(elem_id="flagged")

    def counted() -> str:
        counts = ", ".join(f"{count} {label}" for label, count in session.flags.counts().items())
        return notice(
            f"flagged so far: {counts}, in {session.flags.path}, a file for --forget and --retain"
        )

    def flag(last: Any, who: str, wanted: str) -> str:
        prompt, shown = last or ("", dict[str, Shown]())
        answer = shown.get(who) or Shown()
        session.flags.add(prompt, answer.text if answer.done else "", answer.verdict, wanted, who)
        return counted()

    button.click(tells(flag), inputs=[last, who, wanted], outputs=note, api_visibility="private")
    page.load(tells(counted), outputs=note, api_visibility="private")


def _export_part(gr: Any, session: Session, alpha: Any, preset: Any) -> None:
    with gr.Accordion("Export", open=False, elem_id="export-part"):
        with gr.Row():
            kind = gr.Radio(list(FORMATS), value=FORMATS[0], label="Format", elem_id="format")
            names = [(TITLES[name], name) for name in session.edits]
            who = gr.Radio(
                names, value=EDITED, label="Of", visible=len(names) > 1, elem_id="export-of"
            )
        button = gr.Button("Write it at this strength", elem_id="export")
        note = gr.HTML(elem_id="exported")

    def write(kind: str, alpha: float, preset: str, who: str) -> str:
        return notice(
            f"written to {session.export(kind, alpha, preset, who)}, with its card: read it"
        )

    button.click(
        tells(write),
        inputs=[kind, alpha, preset, who],
        outputs=note,
        concurrency_limit=1,
        api_visibility="private",
    )


def tells(work: Callable[..., str]) -> Callable[..., str]:
    """The same work, with an error of the user's as a line of status."""

    def told_work(*inputs: Any) -> str:
        try:
            return work(*inputs)
        except SkunlearnError as error:
            return notice(str(error), "error")

    return told_work
