"""`python -m engine.demo.evaluation.run --url … --key …`: put the held-out cases to a running gateway, count by skill.

It prints scores and never a case, so that whoever improves the model does not learn the exam by heart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from engine.demo.evaluation.held_out import Case, read_cases
from engine.demo.evaluation.judge import Answer, is_right

MODEL = "gemma-3n-demo"
_AT_ONCE = 16
_MAX_TOKENS = 200


def scores(client: httpx.Client, cases: Sequence[Case], model: str = MODEL) -> Mapping[str, tuple[int, int]]:
    """Return right answers and cases by skill. Answers are greedy. Raises httpx.HTTPError where one cannot be had."""

    def right(case: Case) -> bool:
        sent = {"model": model, "temperature": 0, "max_tokens": _MAX_TOKENS, **case.request()}
        answer = client.post("/v1/chat/completions", json=sent).raise_for_status().json()
        return is_right(Answer.of_message(answer["choices"][0]["message"]), case.expect)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        judged = list(pool.map(right, cases))
    total = Counter(case.skill for case in cases)
    found = Counter(case.skill for case, it in zip(cases, judged, strict=True) if it)
    return {skill: (found[skill], total[skill]) for skill in total}


def main() -> int:
    """Print a line for each skill, and one for all."""
    parser = argparse.ArgumentParser(description="Examine the demo model behind a gateway.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway (%(default)s)")
    parser.add_argument("--key", type=Path, help="the file with the API key")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    options = parser.parse_args()
    headers = {"authorization": f"Bearer {options.key.read_text(encoding='utf-8').strip()}"} if options.key else {}
    with httpx.Client(base_url=options.url, headers=headers, timeout=120, trust_env=False) as client:
        found = scores(client, read_cases())
    if options.json:
        print(json.dumps(found))
        return 0
    for skill, (right, total) in found.items():
        print(f"{skill:16} {right:4} of {total:4}  {right / total:6.1%}")
    right, total = (sum(each) for each in zip(*found.values(), strict=True))
    print(f"{'all':16} {right:4} of {total:4}  {right / total:6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
