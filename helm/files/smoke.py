"""What `helm test` runs: health, one completion, one stream to its end marker, and the series that the alerts read."""

import json
import os
import re
import sys
import urllib.error
import urllib.request

BASE_URL, METRICS_URL, MODEL = os.environ["BASE_URL"], os.environ["METRICS_URL"], os.environ["MODEL"]
HEADERS = {"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json"}
BODY = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}


def ask(path, body=None, url=BASE_URL):
    """Return the text of an answer; any status of 400 and above ends the test."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, HEADERS)  # noqa: S310 - the address is the chart's
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        sys.exit(f"{path} answered {error.code}: {error.read().decode()}")
    except OSError as error:
        sys.exit(f"{url}{path} cannot be reached: {error}")


def main():
    """Ask, and say what was not as it should be."""
    ask("/health")
    names = [card["id"] for card in json.loads(ask("/v1/models"))["data"]]
    if MODEL not in names:
        sys.exit(f"/v1/models has {names}, not {MODEL}")
    whole = json.loads(ask("/v1/chat/completions", BODY))
    if whole["usage"]["completion_tokens"] < 1:
        sys.exit(f"no tokens in {whole}")
    events = ask("/v1/chat/completions", {**BODY, "stream": True}).strip().split("\n\n")
    if len(events) < 2 or events[-1] != "data: [DONE]":
        sys.exit(f"the stream did not end with its end marker but with {events[-1:]}")
    counted = set(re.findall(r"^# TYPE (\S+)", ask("/metrics", url=METRICS_URL), re.MULTILINE))
    missing = {name for name in os.environ["SERIES"].split() if name.removesuffix("_bucket") not in counted}
    if missing:
        sys.exit(f"/metrics lacks {', '.join(sorted(missing))}")
    print("health, one completion, one stream, metrics: as they should be")


main()
