"""How tests are shared out among the workers of one run."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

_ON_ONE_ENGINE = "tests/engine/"
"""All of these share one vLLM, which takes a minute to start and both cores to answer."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests run in one worker, in their order; those on the real engine all in one."""

    def _split_scope(self, nodeid: str) -> str:
        return _ON_ONE_ENGINE if nodeid.startswith(_ON_ONE_ENGINE) else nodeid.partition("::")[0]
