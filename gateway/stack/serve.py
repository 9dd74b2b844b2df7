"""The way into `serve`: take the data folder, make the plan, run it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from config import Settings
from gateway.identity.local_key import ensure_local_key
from gateway.stack.console import Console
from gateway.stack.lock import only_serve_in
from gateway.stack.plan import Commands, Plan, make_plan
from gateway.stack.redis_child import socket_path
from gateway.stack.stack import Stack


def serve(settings: Settings, environ: Mapping[str, str], *, verbose: bool, commands: Commands | None = None) -> int:
    """Run everything until a signal comes; return 0 then, 1 where a child kept ending, 3 where one never can run.

    `environ` is what the children get; it must already say what the flags say. Raises StackError, LocalKeyError.
    """
    settings = settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})
    with only_serve_in(settings.data_dir), socket_path(settings.data_dir) as redis_socket:
        # Made here and not left to the gateway, so that a folder that cannot hold it is one sentence and no restarts.
        key_file = ensure_local_key(settings.data_dir)
        plan = make_plan(settings, environ, redis_socket, commands or Commands())
        return asyncio.run(_run(plan, key_file, verbose=verbose))


async def _run(plan: Plan, key_file: Path, *, verbose: bool) -> int:
    return await Stack(plan, key_file, Console(sys.stdout)).run(verbose=verbose)
