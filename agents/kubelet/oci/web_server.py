"""The program of keelson/web: tells its version and its pod, says /healthz, and can be told what to do by its environment.

VERSION, PORT, POD_NAME (else the host's name), START_DELAY_S (not ready before), SHUTDOWN_DELAY_S (goes on serving after SIGTERM, so that no client
is refused while the news of its end spreads). Standard library only: it runs with nothing but an interpreter.
"""

import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "0")
POD = os.environ.get("POD_NAME") or socket.gethostname()
STARTED = time.monotonic()
START_DELAY_S = float(os.environ.get("START_DELAY_S", "0"))
SHUTDOWN_DELAY_S = float(os.environ.get("SHUTDOWN_DELAY_S", "2"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75
    stopping = False

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path in ("/healthz", "/readyz", "/livez"):
            ready = time.monotonic() - STARTED >= START_DELAY_S
            self.answer(200 if ready else 503, b"ok\n" if ready else b"starting\n", "text/plain")
        elif path == "/env":
            self.answer(200, json.dumps(dict(os.environ), indent=1).encode(), "application/json")
        elif path == "/sleep":
            time.sleep(min(float(query or 1), 60))
            self.answer(200, b"slept\n", "text/plain")
        else:
            told = {"version": VERSION, "pod": POD, "path": self.path, "client": self.client_address[0]}
            self.answer(200, json.dumps(told).encode() + b"\n", "application/json")

    do_POST = do_GET  # noqa: N815 - the library's name

    def answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if Handler.stopping:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        sys.stdout.write(f"{self.address_string()} {format % arguments}\n")
        sys.stdout.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        """Without asking a name server for our own name, which may take ten seconds to say nothing."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = POD, self.server_address[1]


def main() -> None:
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)

    def stop(*_: object) -> None:
        Handler.stopping = True
        threading.Timer(SHUTDOWN_DELAY_S, server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print(f"web {VERSION} on {POD}: listening on {server.server_address[1]}", flush=True)
    server.serve_forever(0.1)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
