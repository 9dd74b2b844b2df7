"""What an engine's init container runs: the model's files at one commit into the cache, from which vLLM then reads."""

import os
import sys

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

MODEL, REVISION = os.environ["MODEL"], os.environ["REVISION"]


def main():
    """Download what is missing; what is there of this commit is not asked for again."""
    try:
        folder = snapshot_download(MODEL, revision=REVISION)
    except GatedRepoError:
        sys.exit(f"{MODEL} is gated: accept its licence at https://huggingface.co/{MODEL} and give a token of yours")
    except (HfHubHTTPError, OSError) as error:
        sys.exit(f"{MODEL} at {REVISION} cannot be downloaded: {' '.join(str(error).split())}")
    print(f"{MODEL} at {REVISION} is in {folder}")


main()
