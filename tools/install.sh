#!/usr/bin/env bash
# Installs the project into a virtual environment, unless that has been done for this very pyproject.toml.
#
#   tools/install.sh        what `make run` needs
#   tools/install.sh dev    that and what the tests need
#
# VENV    where to (default .venv)
# PYTHON  the interpreter to make it with (default: the first fitting one on PATH)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly torch_cpu_index=https://download.pytorch.org/whl/cpu
venv=${VENV:-.venv}
extras=$(compgen -G '/dev/nvidia[0-9]*' >/dev/null && echo gpu || echo cpu)
[[ ${1:-} == dev ]] && extras+=,dev
hash=$(cksum <pyproject.toml | cut -d ' ' -f 1)
stamp=$venv/.installed-$hash-$extras
log=$venv/install.log

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# A name on PATH may be a version manager's stand-in, so each candidate has to prove that it runs and fits.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or 3.12 that runs."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed and was not found." \
        "Install it (Debian, Ubuntu: sudo apt install python3.11 python3.11-venv) or set PYTHON=/path/to/python3.11."
}

make_venv() {
    local python
    if [[ -e $venv && ! -e $venv/pyvenv.cfg && -n $(ls -A "$venv") ]]; then
        fail "$venv is there and is not a virtual environment; move it away or set VENV to another folder."
    fi
    # One whose making was interrupted, or whose Python is gone, is made anew.
    if fits "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$python has no venv module (Debian, Ubuntu: sudo apt install python3-venv, or python3.11-venv)."
    echo "Making the virtual environment $venv with $("$python" --version)."
    "$python" -m venv --clear "$venv"
}

# Runs pip with its output in the log, and shows that it goes on: in place on a terminal, else a line now and then.
pip_install() {
    local seconds=0 line pid
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input -e ".[$extras]" "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        line=$(tail -n 1 "$log" | tr -d '\r' | sed 's/^ *//' | cut -c 1-60)
        if [[ -t 1 ]]; then
            printf '\r\033[2KInstalling (%d s): %s' "$seconds" "$line"
        elif ((seconds % 10 == 0)); then
            printf 'Installing (%d s): %s\n' "$seconds" "$line"
        fi
        sleep 1
        ((seconds += 1))
    done
    [[ -t 1 ]] && printf '\r\033[2K'
    trap - INT TERM
    wait "$pid"
}

[[ -e $stamp ]] && exit 0
[[ -e $venv/.installed-$hash-$extras,dev ]] && exit 0
make_venv
echo "Installing gemma-gateway[$extras] into $venv; the first time takes minutes and gigabytes. Log: $log"
: >"$log"
if ! pip_install; then
    # The CPU build of torch is on PyTorch's own index, which not every machine's pip asks.
    if grep -qE 'torch==[0-9.]+\+cpu' "$log"; then
        echo "pip knows no CPU build of torch; asking $torch_cpu_index too."
        pip_install --extra-index-url "$torch_cpu_index" || failed=yes
    else
        failed=yes
    fi
fi
if [[ ${failed:-} == yes ]]; then
    tail -n 20 "$log" >&2
    fail "pip could not install gemma-gateway[$extras]; the whole of what it said is in $log."
fi
if [[ $extras == cpu* ]]; then
    # pip may choose torchvision and its kin for another torch; transformers, and so the trainer, imports what is there.
    "$venv/bin/python" - "$venv" >>"$log" 2>&1 <<'PYTHON' || fail "$(tail -n 1 "$log")"
import sys
from pathlib import Path

from engine.repair import repair_torch_extras

sys.exit(repair_torch_extras(Path(sys.argv[1])))
PYTHON
fi
rm -f "$venv"/.installed-*
touch "$stamp"
echo "Installed."
