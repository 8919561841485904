"""A real HTTP server whose behaviour a test sets: `behave(handler, number)` answers the request of
that number."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's `behave`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers), body, time.monotonic()))
            number = len(self.server.seen)
        self.close_connection = True
        self.server.behave(self, number)

    do_GET = do_POST

    def reply(self, status: int, body: Any, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Daemon threads, and no words about clients that leave."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what some tests want."""
