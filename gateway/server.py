"""uvicorn, and what a signal does: unready first, then the running requests to their end, then out."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from prometheus_client import start_http_server

from config import Settings, SettingsError
from config.hang_up import let_hang_ups_through
from config.schema import AuthMode
from gateway.api.http_protocol import GatewayHttpProtocol
from gateway.app import create_app
from gateway.lifespan import Rooms
from gateway.telemetry.logging import configure_logging, get_logger
from gateway.telemetry.metrics import Metrics


class GatewayServer(uvicorn.Server):
    """uvicorn's server, whose first signal also takes the gateway out of readiness."""

    def __init__(self, config: uvicorn.Config, rooms: Rooms) -> None:
        super().__init__(config)
        self._rooms = rooms

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving. Unlike uvicorn's, a signal is not raised again after a clean shutdown.

        An asked-for end is a success, and its exit code is 0, as Kubernetes and systemd expect. SIGHUP has what
        may change read again.
        """
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._rooms.reload)
        let_hang_ups_through()
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Record the signal, as uvicorn does, and stop being ready."""
        self._rooms.draining = True
        super().handle_exit(sig, frame)


def run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Requests under way get server.drain_seconds to end.

    On SIGHUP what may change while running is taken from what `reread` returns. Raises SettingsError where a port
    cannot be listened on.
    """
    configure_logging(settings.telemetry)
    logger = get_logger()
    if settings.auth.mode is AuthMode.OFF:
        logger.warning("authentication_is_off", effect="anyone who reaches this address is an admin")
    app = create_app(settings)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    logger.info("gateway_listening", host=host, port=port)
    rooms: Rooms = app.state.rooms
    rooms.discovery.reread = reread
    server = GatewayServer(_uvicorn_config(app, settings), rooms)
    _spare_the_collector()
    with _metrics_port(settings, rooms.metrics):
        server.run(sockets=[listener])
    return 0 if server.started else 1


@contextmanager
def _metrics_port(settings: Settings, metrics: Metrics) -> Iterator[None]:
    """Answer /metrics on a port of this process's own, if it is to have one: from a thread, which only reads."""
    port = settings.telemetry.metrics_port
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, settings.server.host, metrics.registry)
    except OSError as error:
        raise _cannot_listen("telemetry.metrics_port", settings.server.host, port, error) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spare_the_collector() -> None:
    """Let the garbage collector pass over what lives as long as the process, and look less often.

    Requests leave next to no reference cycles, yet at the default threshold a young collection runs every few
    requests and old ones walk every module; together they were a third of the CPU of a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.server.reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Accepted sockets inherit it. A close waits for what was written, so who takes nothing would be kept for ever.
        limit_ms = int(settings.stream.client_timeout_seconds * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, limit_ms))
    try:
        listener.bind((settings.server.host, settings.server.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _cannot_listen("server.port", settings.server.host, settings.server.port, error) from None
    return listener


def _cannot_listen(setting: str, host: str, port: int, error: OSError) -> SettingsError:
    return SettingsError([f"{setting}: {host}:{port} cannot be listened on: {error.strerror or 'no such address'}."])


def _uvicorn_config(app: object, settings: Settings) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=GatewayHttpProtocol,
        ws="none",
        proxy_headers=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=server.keep_alive_seconds,
        timeout_graceful_shutdown=int(server.drain_seconds),
    )
