"""Pictures of the pages: those of the README come from the same run as the tests (`make screenshots`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Page


@dataclass(frozen=True, slots=True)
class Screenshots:
    """Takes them into a folder."""

    folder: Path
    patience_seconds: float
    """How long plots may grow before their picture is taken."""

    @classmethod
    def chosen(cls, otherwise: Path) -> Screenshots:
        """Return the one for the folder that SCREENSHOTS names."""
        kept = os.environ.get("SCREENSHOTS")
        return cls(Path(kept), 60.0) if kept else cls(otherwise, 0.0)

    async def take(self, page: Page, name: str) -> Path:
        """Take what is in view, with nothing moving, and return where it is."""
        path = self.folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled", caret="hide")
        return path
