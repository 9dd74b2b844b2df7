"""What `serve` prints once everything runs: what it is, and lines to paste into another shell. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from config.schema import EngineProfile
from gateway.identity.login_codes import LOGIN_CODE_SECONDS

_EXAMPLE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Running:
    """What runs, as far as people see it. `base_url` ends in /v1; `python` and `command` work when pasted."""

    base_url: str
    model: str
    why: str
    key_file: Path
    logs: Path
    redis: str
    python: str
    command: str
    login_code: str | None = None
    """Lets a browser in, once."""


def greeting(running: Running) -> str:
    """Return the whole text; its last line is `ready: ` and the base URL."""
    root = running.base_url.removesuffix("/v1")
    return "\n".join(
        [
            "",
            f"gemma-gateway serves {running.model}: {running.why}.",
            *_page(running, root),
            f"  docs   {root}/docs",
            f"  key    {running.key_file}",
            f"  logs   {running.logs}",
            f"  redis  {running.redis}",
            "",
            "From another shell, with curl:",
            "",
            _curl(running),
            "",
            "with Python and the openai package:",
            "",
            _python(running),
            "",
            "or as a chat in the terminal:",
            "",
            _chat(running),
            "",
            f"ready: {running.base_url}",
        ]
    )


def reason_of(profile: EngineProfile, engines: tuple[str, ...], *, gpu: bool) -> str:
    """Say which engine runs and why, as `auto` decides by whether there is a GPU."""
    if engines:
        return f"engines at {', '.join(engines)}, as the settings of routing say"
    if profile is EngineProfile.GPU and gpu:
        return "profile gpu, since this machine has a GPU"
    if profile is EngineProfile.DEMO and not gpu:
        return "profile demo (a tiny model for trying things out), since this machine has no GPU"
    return f"profile {profile}, as asked for"


def _page(running: Running, root: str) -> list[str]:
    """Return the link to the chat page. The code is in the fragment, which browsers send to nobody."""
    if running.login_code is None:
        return []
    return [
        "",
        f"Chat in a browser (this link signs you in once, within {LOGIN_CODE_SECONDS // 60} minutes):",
        "",
        f"  {root}/#code={running.login_code}",
        "",
    ]


def _curl(running: Running) -> str:
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    body = json.dumps({"model": running.model, "messages": messages, "max_tokens": _EXAMPLE_TOKENS})
    return (
        f"curl -s {running.base_url}/chat/completions -H 'Content-Type: application/json' "
        f'-H "Authorization: Bearer $(cat {shlex.quote(str(running.key_file))})" -d {shlex.quote(body)}'
    )


def _chat(running: Running) -> str:
    key_file = shlex.quote(str(running.key_file))
    return f"{shlex.quote(running.command)} chat --base-url {running.base_url} --key-file {key_file}"


def _python(running: Running) -> str:
    return "\n".join(
        [
            f"{shlex.quote(running.python)} - <<'PYTHON'",
            "from openai import OpenAI",
            f"client = OpenAI(base_url={running.base_url!r}, api_key=open({str(running.key_file)!r}).read().strip())",
            "stream = client.chat.completions.create(",
            f"    model={running.model!r}, max_tokens={_EXAMPLE_TOKENS}, stream=True,",
            '    messages=[{"role": "user", "content": "Why is the sky blue?"}],',
            ")",
            "for chunk in stream:",
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
            "print()",
            "PYTHON",
        ]
    )
