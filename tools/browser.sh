#!/usr/bin/env bash
# Installs Chromium, which the tests of the pages drive, with Debian's or Ubuntu's apt-get, unless it is there.
#
# Needs root, or sudo that asks for no password. Exit code 1 where it could not be had: those tests are skipped then.
set -euo pipefail

command -v chromium >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "No apt-get here: install Chromium by hand." >&2; exit 1; }

as_root=()
if [[ $EUID -ne 0 ]]; then
    sudo -n true 2>/dev/null || { echo "To install Chromium: sudo apt-get install chromium" >&2; exit 1; }
    as_root=(sudo -n)
fi

export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
    # The lists of packages may be missing, or too old for the files they name.
    if "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null; then
        command -v chromium >/dev/null && exit 0
    fi
    echo "apt-get could not install Chromium (attempt $attempt of 3)." >&2
    sleep $((attempt * 5))
done
exit 1
