"""Secrets in files: `GEMMA_AUTH__JWT_SECRET_FILE` names one in place of `GEMMA_AUTH__JWT_SECRET`.

Docker and Kubernetes mount secrets as files. What is in one is shown by no `docker inspect`, and no child inherits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIX = "_FILE"
_MAX_BYTES = 65_536


def with_files_read(variables: Mapping[str, str], names: Iterable[str], problems: list[str]) -> dict[str, str]:
    """Return the variables, and in place of each that names the file of a secret, the secret.

    `names` are those of secrets. A problem tells no value: some give the secret where its file should be named.
    """
    found = dict(variables)
    for name in names:
        path = found.pop(name + SUFFIX, "")
        if path:
            found[name] = _content(path, name + SUFFIX, problems)
    return found


def check_given_once(variables: Mapping[str, str], secrets: Iterable[tuple[str, ...]], problems: list[str]) -> None:
    """Note each secret that is given both itself and as a file. `secrets` are the names of each."""
    for names in secrets:
        itself = [name for name in names if variables.get(name)]
        in_file = [name + SUFFIX for name in names if variables.get(name + SUFFIX)]
        if itself and in_file:
            problems.append(f"{in_file[0]}: {itself[0]} is given too, and only one of them may be")


def _content(path: str, name: str, problems: list[str]) -> str:
    """Return what the file holds without the line break at its end, "" where that is not to be had."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            problems.append(f"{name}: the file is larger than any secret, {_MAX_BYTES} bytes")
        text = content.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problems.append(f"{name}: the file cannot be read: {reason}")
        return ""
    if not text:
        problems.append(f"{name}: the file is empty")
    return text
