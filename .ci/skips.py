"""Print why tests were skipped, and fail where nobody has allowed that: `skips.py JUNIT_XML ALLOWED_TXT`.

ALLOWED_TXT has one regular expression a line, which a reason must match as a whole; `#` begins a comment.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def main() -> int:
    """Return 0 where every skip is allowed."""
    report, allowed_file = Path(sys.argv[1]), Path(sys.argv[2])
    lines = allowed_file.read_text(encoding="utf-8").splitlines() if allowed_file.exists() else []
    allowed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    reasons = read_reasons(report)
    print(f"{reasons.total()} skipped")
    unexpected = 0
    for reason, count in sorted(reasons.items()):
        known = any(re.fullmatch(pattern, reason) for pattern in allowed)
        unexpected += not known
        print(f"  {count} x {reason}{'' if known else f'  <- not in {allowed_file}'}")
    return min(unexpected, 1)


def read_reasons(report: Path) -> Counter[str]:
    """Return how often each reason stands in pytest's own report of this very run."""
    root = ElementTree.parse(report).getroot()  # noqa: S314 - pytest has just written it
    skips = (skip for skip in root.iter("skipped") if skip.get("type") == "pytest.skip")
    return Counter(" ".join((skip.get("message") or "no reason given").split()) for skip in skips)


if __name__ == "__main__":
    sys.exit(main())
