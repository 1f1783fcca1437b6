"""As much of W&B's server as a dashboard needs: it is logged in, and keeps what it is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

_VIEWER = {"id": "1", "entity": "us", "username": "us", "email": "", "flags": "{}"}
_PROJECT = {"id": "2", "name": "digits", "entityName": "us", "createdAt": "2026-01-01T00:00:00"}


def _answer(query: str, variables: dict[str, Any]) -> dict[str, Any]:
    if "upsertView" in query:
        view = {key: variables[key] for key in ("name", "displayName", "description", "spec")}
        view |= {"id": "Vm", "type": "runs", "updatedAt": "2026-01-01T00:00:00Z"}
        view["project"] = {"id": "2", "name": "digits", "entityName": "us"}
        return {"upsertView": {"view": view, "inserted": True}}
    node = _PROJECT | {"isBenchmark": False, "user": None}
    page = {"endCursor": None, "hasNextPage": False}
    models = {"edges": [{"node": node, "cursor": "1"}], "pageInfo": page}
    return {"viewer": _VIEWER | {"teams": {"edges": []}}, "models": models}


@contextmanager
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Within it, its address, and the variables of every question so far."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            variables = body.get("variables") or {}
            asked.append(variables)
            answer = json.dumps({"data": _answer(body["query"], variables)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()
