"""Stand-ins for vLLM, run by path: `children.py KIND FOLDER [PORT]`. Each notes its process ids in FOLDER/pids."""

import contextlib
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _note(folder: Path) -> None:
    with (folder / "pids").open("a") as pids:
        pids.write(f"{os.getpid()}\n")


def _grandchild(folder: Path) -> None:
    """Start a worker that outlives us unless it is ended too."""
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _note(folder)
        time.sleep(600)
        os._exit(0)


def _noted(folder: Path, count: int) -> None:
    while len((folder / "pids").read_text().split()) < count:
        time.sleep(0.01)


def main() -> None:
    """Be the child that the first argument names."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    _note(folder)
    if kind == "polite":
        # As vLLM: SIGTERM ends it with exit code 0, here without its worker.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        _grandchild(folder)
    elif kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _grandchild(folder)
    elif kind == "parent-dies":
        _grandchild(folder)
        _noted(folder, 2)
        print("It broke.", flush=True)
        os._exit(7)
    elif kind == "dies":
        print("It cannot load.", flush=True)
        sys.exit(9)
    print("started", flush=True)
    if len(sys.argv) > 3:
        HTTPServer(("127.0.0.1", int(sys.argv[3])), _Answer).serve_forever()
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(600)


if __name__ == "__main__":
    main()
