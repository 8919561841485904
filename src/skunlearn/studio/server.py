"""Who may open the studio, and what its page may load.

Without a password only this machine may open it. The page loads nothing from any other host.
"""

import hmac
import ipaddress
import os
from typing import Any

from skunlearn.studio.page import OPEN, build, style
from skunlearn.studio.session import Session
from skunlearn.utils.errors import ConfigError

# Gradio's own scripts build code from text, hence 'unsafe-eval'. Its themes and components may
# request fonts and scripts of other hosts, which this policy forbids.
POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, password: str | None) -> None:
    """Refuse an address that is open to others, and one that gradio cannot listen at.

    Raises:
        ConfigError: when others could reach the studio without a password, or the address is an
            IPv6 address.
    """
    if ":" in host:
        raise ConfigError(
            f"--host {host}: gradio takes no IPv6 addresses: give an IPv4 address or a name"
        )
    if not is_loopback(host) and not password:
        raise ConfigError(
            f"--host {host}: others could reach the studio: "
            "set a password with SKUNLEARN_STUDIO_PASSWORD or --password"
        )


def serve(
    session: Session, host: str = "127.0.0.1", port: int = 7860, password: str | None = None
) -> Any:
    """Serve the page from a thread of its own.

    Args:
        session: generates the answers.
        host: the address to listen at.
        port: the port to listen at.
        password: the password, which is valid with any user name. On loopback none is needed.

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
    if is_loopback(host):
        # Against DNS rebinding: a foreign name that resolves to this machine is refused.
        middleware.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", host])
        )

    def login(_user: str, given: str) -> bool:
        return same(given, password)

    page = build(session)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            share=False,
            auth=login if password else None,
            auth_message="skunlearn studio: any user name, and the password it was started with",
            app_kwargs={"middleware": middleware},
            max_file_size=1,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            theme=_theme(gr),
            css=style(),
            js=OPEN,
        )
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error}): give another port"
        ) from error
    return page


def gradio() -> Any:
    """Import gradio with its telemetry switched off.

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
    """Whether the password is right; the time it takes does not depend on how much of it is."""
    return hmac.compare_digest(given.encode(), (password or "").encode())


def _theme(gr: Any) -> Any:
    """A grey theme with the system's own fonts, so that none are loaded."""
    font = gr.themes.utils.fonts.Font
    theme = gr.themes.Base(
        primary_hue="slate",
        font=[font("system-ui"), font("sans-serif")],
        font_mono=[font("monospace")],
    )
    return theme.set(
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_400"
    )


class OwnOrigin:
    """ASGI middleware that forbids browsers to load anything from other hosts.

    So the page works offline, and no other host learns of it.

    Args:
        app: the application that answers requests.
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
