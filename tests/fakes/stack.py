"""`gemma-gateway serve` as a real process that a test owns: Redis, engine and gateway on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from tests.fakes.ports import free_port

_ROOT = Path(__file__).resolve().parents[2]


class ServeProcess:
    """Starts `serve` in a folder of its own; `settings` are environment variables; `stop()` is a Ctrl-C."""

    def __init__(
        self,
        data_dir: Path,
        settings: dict[str, str] | None = None,
        profile: str = "demo",
        program: tuple[str, ...] = (sys.executable, "-m", "gateway"),
        folder: Path = _ROOT,
    ) -> None:
        self.data_dir = data_dir
        self._profile = profile
        self.port, self.engine_port, self.status_port = free_port(), free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.engine_url = f"http://127.0.0.1:{self.engine_port}"
        self.status_url = f"http://127.0.0.1:{self.status_port}"
        self.output = ""
        self._settings = settings or {}
        self._program = program
        self._cwd = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it

    @property
    def key(self) -> str:
        """The local API key."""
        return (self.data_dir / "key").read_text(encoding="utf-8").strip()

    def start(self, timeout_seconds: float = 240.0) -> None:
        """Start it and return after the line `ready: …`; raise with its output if that does not come."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GEMMA_")}
        environ |= {
            "GEMMA_DATA_DIR": str(self.data_dir),
            "GEMMA_SERVER__PORT": str(self.port),
            # As in GatewayProcess: these tests are not about a Redis that is late.
            "GEMMA_REDIS__TIMEOUT_SECONDS": "3",
            "GEMMA_ENGINE__PORT": str(self.engine_port),
            "GEMMA_ENGINE__STATUS_PORT": str(self.status_port),
            **self._settings,
        }
        self._process = subprocess.Popen(
            [*self._program, "serve", "--profile", self._profile],
            cwd=self._cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + timeout_seconds
        while f"ready: {self.base_url}/v1" not in self.read():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"serve did not get ready:\n{self.output}")
            time.sleep(0.2)

    def read(self) -> str:
        """Return everything it has printed."""
        self._log.seek(0)
        self.output = self._log.read().decode()
        return self.output

    def stop(self) -> int:
        """Send SIGINT and return the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=90)

    def close(self) -> None:
        """Stop it, whatever state it is in."""
        try:
            self.stop()
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
            self._log.close()
