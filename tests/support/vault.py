"""A small server that speaks what we use of Vault's KV version 2, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hvs.test-token-0123456789"
KEY = "sk-vault-key-0123456789"
PATH = "secret/syndic/models"


@dataclass
class FakeVault:
    """One secret at `PATH` for whoever shows `TOKEN`."""

    url: str = ""
    fields: dict[str, str] = field(default_factory=lambda: {"OPENAI_API_KEY": KEY})
    sealed: bool = False
    reads: int = 0

    def reply(self, path: str, token: str | None) -> tuple[int, object]:
        self.reads += 1
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if path != "/v1/secret/data/syndic/models":
            return 404, {"errors": []}
        return 200, {"data": {"data": self.fields, "metadata": {"version": self.reads}}}


@contextmanager
def serving(vault: FakeVault, port: int = 0) -> Iterator[None]:
    """Serve on loopback until the block ends; `url` is what `VAULT_ADDR` takes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = vault.reply(self.path.partition("?")[0], self.headers.get("X-Vault-Token"))
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    http.daemon_threads = True
    vault.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
