"""One `serve` to a data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gateway.stack.errors import StackError


@contextmanager
def only_serve_in(data_dir: Path) -> Generator[None]:
    """Hold the folder's lock. The kernel frees it however the process ends. Raises StackError."""
    path = data_dir / "serve.lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise StackError(f"The data folder {data_dir} cannot be used: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise StackError(
                f"`serve` already runs on {data_dir} (process {holder or 'unknown'}); stop it, or set another data_dir."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
