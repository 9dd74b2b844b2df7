"""`server.processes`: so many ordinary gateways on one port, each an event loop of its own, kept running together.

They share nothing but Redis and the port, among whose listeners the kernel divides new connections (SO_REUSEPORT,
socket(7)). So this process only starts, restarts and stops them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence

from config import Settings
from config.hang_up import let_hang_ups_through
from gateway.flags import variables_of
from gateway.identity.local_key import ensure_local_key
from gateway.stack.child import ChildSpec
from gateway.stack.keeper import GaveUp, Keeper, RestartBudget
from gateway.stack.ports import free_port

_GRACE_SECONDS = 5.0
"""What a process gets beyond server.drain_seconds. Less than what `serve` gives all of them together."""
_GATEWAY = (sys.executable, "-m", "gateway", "gateway")


def run_processes(settings: Settings, environ: Mapping[str, str], command: Sequence[str] = _GATEWAY) -> int:
    """Run `server.processes` gateways until SIGTERM or SIGINT; return 0 then, else what the one that failed says.

    `environ` is what they get; it must already say what the flags say. Raises StackError where the port is taken.
    """
    ensure_local_key(settings.data_dir)  # By one, before several would make it at once.
    return asyncio.run(_Processes(specs_of(settings, environ, command)).run())


def specs_of(settings: Settings, environ: Mapping[str, str], command: Sequence[str] = _GATEWAY) -> list[ChildSpec]:
    """Return the children: one gateway each, on a port that is decided, with a metrics port of its own."""
    port = free_port(settings.server.host, settings.server.port, "server.port")
    processes = settings.server.processes
    return [
        ChildSpec(
            name=f"gateway {number + 1}",
            argv=tuple(command),
            log=None,
            stop_seconds=settings.server.drain_seconds + _GRACE_SECONDS,
            variables={
                **environ,
                **variables_of(
                    [
                        ("server.port", str(port)),
                        ("server.processes", "1"),
                        ("server.reuse_port", "true"),
                        ("telemetry.metrics_port", str(metrics_port)),
                    ]
                ),
            },
        )
        for number, metrics_port in enumerate(settings.telemetry.metrics_ports(processes))
    ]


class _Processes:
    """Runs the children once. All of them have ended when `run` returns."""

    def __init__(self, specs: Sequence[ChildSpec]) -> None:
        self._keepers = [Keeper(spec, RestartBudget(), _say) for spec in specs]
        self._stopped = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        let_hang_ups_through()
        stopping = asyncio.create_task(self._stopped.wait())
        keeping = [asyncio.create_task(keeper.keep()) for keeper in self._keepers]
        try:
            await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopping, *keeping):
                task.cancel()
            ended = await asyncio.gather(*keeping, return_exceptions=True)
            await asyncio.gather(*(keeper.stop() for keeper in self._keepers))
        return _exit_code(ended)

    def _pass_on(self, number: signal.Signals) -> None:
        for keeper in self._keepers:
            if keeper.child is not None:
                keeper.child.send_signal(number)


def _exit_code(ended: Sequence[GaveUp | BaseException]) -> int:
    for each in ended:
        if isinstance(each, GaveUp):
            _say(each.sentence)
            return each.exit_code
        if not isinstance(each, asyncio.CancelledError):
            raise each
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
