"""A scripted vLLM: the same HTTP and the same bytes, raw asyncio, and on request every way to fail.

    python -m tests.fakes.engine --port N [--unix PATH] [--model NAME] [--itl-ms X] [--tokens N] [--service-ms X]
                                [--keep-alive S]

Prints `listening PORT`. Beside vLLM's routes:

    POST /_script   {"behaviour": NAME, "times": 1, "path": null, ...parameters}: the next `times` requests (-1: all)
                    to `path` (null: any generation) get it; see behaviours.py. `unread_body` in the parameters:
                    answer as soon as the head is here and never read the body.
    POST /_set      {"health": 503, "waiting": 3, "kv": 0.9}: what /health and /metrics say, and
                    `takes`: ["image", "audio"], the media that it takes, which /_reset leaves
    POST /_release  lets requests under `hold` finish
    POST /_reset    forgets scripts and counts
    GET  /_stats    {seen, running, finished, aborted, aborts: [{request_id, at}], open_connections, accepted, requests}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from tests.fakes.engine_connection import Connection
from tests.fakes.engine_state import Engine


async def serve(arguments: argparse.Namespace) -> None:
    """Listen until killed."""
    engine = Engine(arguments.model, arguments.itl_ms / 1000, arguments.tokens, arguments.keep_alive)
    engine.service_seconds = arguments.service_ms / 1000
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(engine), "127.0.0.1", arguments.port, backlog=4096)
    if arguments.unix:
        await loop.create_unix_server(lambda: Connection(engine), arguments.unix, backlog=4096)
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="tests.fakes.engine", description="A scripted vLLM.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix", default="")
    parser.add_argument("--model", default="gemma-3n")
    parser.add_argument("--itl-ms", type=float, default=0.0, help="time between tokens")
    parser.add_argument("--tokens", type=int, default=0, help="length of an answer; 0: that of its echo")
    parser.add_argument("--service-ms", type=float, default=0.0, help="time before a first byte, one after another")
    parser.add_argument("--keep-alive", type=float, default=75.0, help="seconds an idle connection is kept")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
