"""The chart's tests need tools that `make helm-check` installs; by themselves they are not collected."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("HELM_CHECK_TOOLS") else ["test_*.py"]
