"""Settings as `load_settings` makes them, from nothing but what a test gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config import Settings, load_settings
from config.schema import EngineProfile


def settings_of(
    profile: EngineProfile = EngineProfile.DEMO, *, data_dir: Path | None = None, **engine: Any
) -> Settings:
    """Return the settings of a profile with some of the engine's changed."""
    flags: dict[str, Any] = {"engine": {"profile": profile, **engine}}
    if data_dir is not None:
        flags["data_dir"] = data_dir
    return load_settings(flags, environ={}, env_file=Path("no.env"))
