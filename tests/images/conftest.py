"""Tests of images need podman and the images that `make image-check` builds; by themselves they are not collected."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("IMAGE_CHECK") else ["test_*.py"]
