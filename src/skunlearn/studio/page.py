"""The studio's page: layout and events; `session` does the work. Needs gradio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from skunlearn.studio.edits import AS_RUN, PRESETS
from skunlearn.studio.flags import WANTED
from skunlearn.studio.html import TITLES, notice, pane, plain
from skunlearn.studio.session import EDITED, FORMATS, STRONGEST, Session, Shown
from skunlearn.utils.errors import SkunlearnError

# Clients whose answers are generated in turns, and how many more may wait.
CLIENTS = 4
WAITING = 32
# A covered answer is shown, or covered again, by a click or a key.
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


@dataclass(frozen=True)
class Controls:
    """The parts of the page by which answers are requested.

    Attributes:
        prompt: text box.
        ask: button.
        stop: button.
        alpha: slider of the strength.
        preset: menu of filters.
    """

    prompt: Any
    ask: Any
    stop: Any
    alpha: Any
    preset: Any


def build(session: Session) -> Any:
    """The page as gradio blocks, not yet served."""
    import gradio as gr

    with gr.Blocks(title="skunlearn studio", analytics_enabled=False) as page:
        gr.HTML(_head(session))
        controls = _controls(gr, session)
        status = gr.HTML(notice(""), elem_id="status")
        panes = []
        with gr.Row():
            for name in session.names:
                with gr.Column(min_width=300, elem_classes="pane-box"):
                    panes.append(gr.HTML(pane(name, Shown()), elem_id=f"pane-{name}"))
        last = gr.State(None)
        _connect_answers(gr, page, Asking(session), controls, [*panes, last, status])
        _flag_part(gr, page, session, last)
        _export_part(gr, session, controls)
    return page.queue(default_concurrency_limit=CLIENTS, max_size=WAITING, api_open=False)


class Asking:
    """Streams answers to clients; a client's newer request ends its older stream.

    Args:
        session: generates the answers.

    Attributes:
        latest: client -> its newest request, while that is being answered.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.latest: dict[str, object] = {}

    def ask(
        self, client: str, prompt: str, alpha: float, preset: str
    ) -> Iterator[list[Any] | None]:
        """Answer one request.

        Args:
            client: the browser page that sent it.
            prompt: the prompt.
            alpha: strength, 0 to 2.
            preset: one of `edits.PRESETS`.

        Yields:
            After each turn: all panes, the answers that can be flagged, and a status line. None,
            once, when a newer request of the client or `stop` has ended this one.
        """
        ticket = object()
        self.latest[client] = ticket
        shown = {name: Shown() for name in self.session.names}
        working = notice("generating ...")
        try:
            yield self._page(shown, None, working)
            for shown in self.session.answer(prompt, alpha, preset):
                if self.latest.get(client) is not ticket:
                    yield None
                    return
                yield self._page(shown, (prompt, shown), working)
            yield self._page(shown, (prompt, shown), notice(f"strength {alpha:g}, {preset}"))
        except SkunlearnError as error:
            yield self._page(shown, None, notice(str(error), "error"))
        finally:
            if self.latest.get(client) is ticket:
                del self.latest[client]

    def stop(self, client: str) -> None:
        """End the client's stream: it pressed Stop, or left."""
        self.latest.pop(client, None)

    @staticmethod
    def _page(shown: dict[str, Shown], last: Any, line: str) -> list[Any]:
        panes = [pane(name, answer) for name, answer in shown.items()]
        return [*panes, last, line]


def measured_strength(session: Session) -> float:
    """The strength that the run chose."""
    return float(session.edits[EDITED].source.results["alpha"])


def style() -> str:
    """The page's own style sheet."""
    return files("skunlearn.studio").joinpath("page.css").read_text(encoding="utf-8")


def _head(session: Session) -> str:
    runs = []
    for name, edits in session.edits.items():
        results = edits.source.results
        folder = plain(edits.source.folder.name)
        verdict = plain(str(results["verdict"]))
        runs.append(f"{TITLES[name]}: <b>{folder}</b>, {verdict} at strength {results['alpha']:g}")
    return (
        f"<header><h1>skunlearn studio: {plain(session.lm.name)}</h1><p>{'<br>'.join(runs)}</p>"
        f'<p class="quiet">Each verdict is that of {plain(session.judge.name)} on a single answer; '
        "the run's report has the rates. Answers that are harmful or not judged yet are covered: "
        "click one, or press Enter on it, to read it.</p></header>"
    )


def _controls(gr: Any, session: Session) -> Controls:
    """Lay out the prompt with its buttons, and the strength and filter below."""
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(
            label="Prompt",
            placeholder="Press Enter to ask, Shift+Enter for a new line",
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
            info="0 is the base model",
            elem_id="alpha",
            scale=3,
            min_width=300,
            buttons=[],
        )
        preset = gr.Dropdown(
            list(PRESETS),
            value=AS_RUN,
            label="Filter",
            info="applied to the method's task vector",
            elem_id="preset",
            scale=2,
            min_width=300,
        )
    return Controls(prompt, ask, stop, alpha, preset)


def _connect_answers(
    gr: Any, page: Any, asking: Asking, controls: Controls, outputs: list[Any]
) -> None:
    """Connect the controls to the panes, the answers that can be flagged, and the status line."""

    def answer(prompt: str, alpha: float, preset: str, request: gr.Request) -> Iterator[list[Any]]:
        for values in asking.ask(str(request.session_hash), prompt, alpha, preset):
            yield values or [gr.skip()] * len(outputs)

    def again(prompt: str, alpha: float, preset: str, request: gr.Request) -> Iterator[list[Any]]:
        # The slider may be moved before there is a prompt.
        if prompt.strip():
            yield from answer(prompt, alpha, preset, request)

    def stopped(request: gr.Request) -> str:
        asking.stop(str(request.session_hash))
        return notice("stopped")

    def left(request: gr.Request) -> None:
        asking.stop(str(request.session_hash))

    common: Any = {
        "inputs": [controls.prompt, controls.alpha, controls.preset],
        "outputs": outputs,
        "concurrency_limit": CLIENTS,
        "concurrency_id": "ask",
        "trigger_mode": "multiple",
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    gr.on([controls.ask.click, controls.prompt.submit], answer, **common)
    gr.on([controls.alpha.release, controls.preset.input], again, **common)
    controls.stop.click(
        stopped, outputs=outputs[-1], show_progress="hidden", api_visibility="private"
    )
    page.unload(left)


def _flag_part(gr: Any, page: Any, session: Session, last: Any) -> None:
    """Lay out and connect the part that labels an answer for the next run."""
    with gr.Accordion("Flag an answer", open=False, elem_id="flag-part"):
        with gr.Row():
            who = gr.Radio(
                [(TITLES[name], name) for name in session.names],
                value=EDITED,
                label="Answer of",
                elem_id="who",
            )
            wanted = gr.Radio(
                [("harmful, to be forgotten", WANTED[0]), ("safe, to be kept", WANTED[1])],
                value=WANTED[0],
                label="This answer is",
                elem_id="wanted",
            )
        button = gr.Button("Flag", elem_id="flag")
        note = gr.HTML(elem_id="flagged")

    def counted() -> str:
        counts = ", ".join([f"{count} {label}" for label, count in session.flags.counts().items()])
        return notice(
            f"flagged so far: {counts}. Give {session.flags.path} to --forget and --retain "
            "of the next run."
        )

    def flag(last: Any, who: str, wanted: str) -> str:
        prompt = ""
        answer = Shown()
        if last:
            prompt, shown = last
            answer = shown.get(who) or Shown()
        complete_text = answer.text if answer.done else ""
        session.flags.add(prompt, complete_text, answer.verdict, wanted, who)
        return counted()

    button.click(
        with_errors_shown(flag),
        inputs=[last, who, wanted],
        outputs=note,
        api_visibility="private",
    )
    page.load(with_errors_shown(counted), outputs=note, api_visibility="private")


def _export_part(gr: Any, session: Session, controls: Controls) -> None:
    """Lay out and connect the part that writes the edited model at the chosen strength."""
    with gr.Accordion("Export", open=False, elem_id="export-part"):
        with gr.Row():
            kind = gr.Radio(list(FORMATS), value=FORMATS[0], label="Format", elem_id="format")
            names = [(TITLES[name], name) for name in session.edits]
            who = gr.Radio(
                names, value=EDITED, label="Model", visible=len(names) > 1, elem_id="export-of"
            )
        button = gr.Button("Write the model at this strength", elem_id="export")
        note = gr.HTML(elem_id="exported")

    def write(kind: str, alpha: float, preset: str, who: str) -> str:
        folder = session.export(kind, alpha, preset, who)
        return notice(f"written to {folder}, with its card: read it before you share the model")

    button.click(
        with_errors_shown(write),
        inputs=[kind, controls.alpha, controls.preset, who],
        outputs=note,
        concurrency_limit=1,
        api_visibility="private",
    )


def with_errors_shown(work: Callable[..., str]) -> Callable[..., str]:
    """The same function, but a user's error becomes a status line."""

    def guarded(*inputs: Any) -> str:
        try:
            return work(*inputs)
        except SkunlearnError as error:
            return notice(str(error), "error")

    return guarded
