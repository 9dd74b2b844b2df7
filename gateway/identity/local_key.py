"""The one API key of this machine: a file that only its owner can read, made once."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

_PREFIX = "gg_"
_RANDOM_BYTES = 32
_OWNER_ONLY = 0o600

_log = logging.getLogger(__name__)


class LocalKeyError(Exception):
    """The key file cannot be made or must not be trusted. The message is a sentence for the operator."""


def ensure_local_key(data_dir: Path) -> Path:
    """Return the path of the key file, made if it is not there, whole and with mode 0600 from its first moment.

    Any number of processes may ask at once: all get the same key. A file that others may read is made private again,
    with a warning, since its key may be known. Raises LocalKeyError.
    """
    path = data_dir / "key"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            _create(path)
        _check(path)
    except OSError as error:
        raise LocalKeyError(f"The API key file {path} cannot be used: {error.strerror}.") from error
    return path


def read_local_key(data_dir: Path) -> str:
    """Return the key, which is made if it is not there. Raises LocalKeyError."""
    return ensure_local_key(data_dir).read_text(encoding="utf-8").strip()


def _create(path: Path) -> None:
    """Write the key beside its place and link it there: a reader sees the whole key or none, and the first one wins."""
    draft = path.with_name(f".key-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_PREFIX}{secrets.token_urlsafe(_RANDOM_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _check(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise LocalKeyError(f"The API key file {path} is not an ordinary file. Remove it; a new one is made.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(_OWNER_ONLY)
        _log.warning(
            "The API key file %s could be read by others; its mode is 0600 again. If it may have been read, "
            "delete it and restart: a new key is made.",
            path,
        )
    if not path.read_text(encoding="ascii", errors="replace").strip():
        raise LocalKeyError(f"The API key file {path} is empty. Remove it; a new one is made.")
