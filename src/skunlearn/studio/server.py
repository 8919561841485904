"""Who may open the studio, and what its page may fetch: loopback or a password, and nothing from
anywhere else."""

import hmac
import ipaddress
import os
from typing import Any

from skunlearn.studio.page import OPEN, build, style
from skunlearn.studio.session import Session
from skunlearn.utils.errors import ConfigError

POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)  # gradio's own scripts build code from text; its themes and parts may ask for fonts and scripts of other hosts


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, password: str | None) -> None:
    """Raise a ConfigError when others could reach the studio without a password, or gradio cannot
    listen there."""
    if ":" in host:
        raise ConfigError(
            f"--host {host}: gradio knows no IPv6 addresses: give an IPv4 address or a name"
        )
    if not is_loopback(host) and not password:
        raise ConfigError(
            f"--host {host}: others could reach the studio: set a password with SKUNLEARN_STUDIO_PASSWORD or --password"
        )


def serve(
    session: Session, host: str = "127.0.0.1", port: int = 7860, password: str | None = None
) -> Any:
    """Serve the page from a thread of its own.

    Args:
        session: does the work.
        host: address to listen at.
        port: likewise.
        password: asked for with any user name; none is needed on loopback.

    Returns:
        The gradio page: `local_url`, `block_thread()`, `close()`.

    Raises:
        ConfigError: when gradio is missing, the address would be open to others, or the port is
            taken.
    """
    check_access(host, password)
    gr = gradio()
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    middleware = [Middleware(OwnOrigin)]
    if is_loopback(host):  # a name that an attacker lets resolve to this machine is not ours
        middleware.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", host])
        )
    font = gr.themes.utils.fonts.Font
    theme = gr.themes.Base(
        primary_hue="slate",
        font=[font("system-ui"), font("sans-serif")],
        font_mono=[font("monospace")],
    ).set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_400")
    page = build(session)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            share=False,
            auth=(lambda _user, given: same(given, password)) if password else None,
            auth_message="skunlearn studio: any user name, and the password it was started with",
            app_kwargs={"middleware": middleware},
            max_file_size=1,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            theme=theme,
            css=style(),
            js=OPEN,
        )
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error}): give another port"
        ) from error
    return page


def gradio() -> Any:
    """The library, told not to call home.

    Raises:
        ConfigError: when it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
    except ImportError as error:
        raise ConfigError("the studio needs gradio: pip install 'skunlearn[studio]'") from error
    return gr


def same(given: str, password: str | None) -> bool:
    """Whether it is the password, in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), (password or "").encode())


class OwnOrigin:
    """ASGI middleware: browsers are told to load nothing from other hosts, so the page works
    offline and is private.

    Args:
        app: what answers.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"content-security-policy", POLICY)]
                message = message | {"headers": headers}
            await send(message)

        await self.app(scope, receive, with_policy)
