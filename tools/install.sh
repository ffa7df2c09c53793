#!/usr/bin/env bash
# install.sh PYTHON VENV: makes VENV and installs requirements.lock and edgekd itself into it.
#
# pip gets --no-deps: the lock names every package, so nothing that it does not name is ever fetched. That matters for torch, whose
# Linux wheel on the public index is built for CUDA and asks for gigabytes of further packages.
# Environment: TORCH (cpu or any), TORCH_INDEX (see Makefile), pip's own variables.
set -euo pipefail
python=$1
venv=$2

fail() { printf 'install: %s\n' "$@" >&2; exit 1; }

command -v "$python" >/dev/null ||
    fail "no $python on this machine; edgekd's lock is made for Python 3.11" \
        "to mend:  sudo apt-get install python3.11 python3.11-venv     or: make PYTHON=/path/to/python3.11 …"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run"
[ "$version" = 3.11 ] || fail "$python is Python $version; edgekd's lock is made for Python 3.11" "to mend:  make PYTHON=/path/to/python3.11 …"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python cannot make virtual environments" "to mend:  sudo apt-get install python3.11-venv"

[ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
index=()
[ -n "${TORCH_INDEX:-}" ] && index=(--extra-index-url "$TORCH_INDEX")

# Which torch would pip take? Asked of its metadata, before anything large is fetched.
wanted=$(grep '^torch==' requirements.lock)
have=$("${pip[@]}" list --format freeze 2>/dev/null | grep '^torch==' || true)
deps=(--no-deps)
if [ "${have%%+*}" != "$wanted" ]; then
    report=$(mktemp)
    trap 'rm -f "$report"' EXIT
    "${pip[@]}" install -qq --dry-run --no-deps --ignore-installed --report "$report" "${index[@]}" "$wanted"
    if "$venv/bin/python" tools/needs_cuda.py "$report"; then
        [ "${TORCH:-cpu}" = any ] ||
            fail "pip's indexes here have $wanted only as the CUDA build, which brings about 3 GB of further packages." \
                "to mend, either name an index that has the CPU build (PyTorch's installation page shows its address for Linux, pip, CPU):" \
                "    make TORCH_INDEX=ADDRESS …     or once and for all: pip config set global.extra-index-url ADDRESS" \
                "or take the CUDA build:" \
                "    make TORCH=any …"
        # The CUDA build does not start without its libraries; it pins each of them itself.
        deps=()
    fi
fi

# On a terminal pip shows its progress; elsewhere only its errors.
quiet=(-qq)
[ -t 1 ] && quiet=()
echo "install: $(grep -c '==' requirements.lock) packages into $venv"
"${pip[@]}" install "${quiet[@]}" "${deps[@]}" "${index[@]}" -r requirements.lock
"${pip[@]}" install -qq --no-deps --no-build-isolation -e .
"${pip[@]}" check
