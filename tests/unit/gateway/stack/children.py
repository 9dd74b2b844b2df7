"""Stand-ins for the stack's children, run by path: `children.py gateway | engine | permanent | crash | stubborn`."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


def _answer(values: dict[str, object]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = values.get(self.path)
            body = json.dumps(value).encode()
            self.send_response(404 if value is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _serve(port: str, values: dict[str, object]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"pid {os.getpid()}")
    HTTPServer(("127.0.0.1", int(port)), _answer(values)).serve_forever()


def main() -> None:
    """Be the child that the first argument names."""
    kind = sys.argv[1]
    if kind == "gateway":
        print("redis", os.environ.get("GEMMA_REDIS__URL", ""))
        models = {"data": [{"id": "stand-in"}]}
        _serve(os.environ["GEMMA_SERVER__PORT"], {"/health/ready": {}, "/v1/models": models})
    elif kind == "engine":
        _serve(os.environ["GEMMA_ENGINE__STATUS_PORT"], {"/status": {"state": "starting", "stage": "loading weights"}})
    elif kind == "permanent":
        print("The model is gated.")
        sys.exit(3)
    elif kind == "crash":
        print("It broke.")
        sys.exit(1)
    elif kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(f"pid {os.getpid()}", flush=True)
        if os.fork() == 0:
            print(f"grandchild {os.getpid()}", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
