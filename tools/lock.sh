#!/usr/bin/env bash
# lock.sh PYTHON: resolves requirements.in in a fresh environment and writes every package that this takes into requirements.lock.
set -euo pipefail
python=$1
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
index=()
[ -n "${TORCH_INDEX:-}" ] && index=(--extra-index-url "$TORCH_INDEX")

"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet "${index[@]}" -r requirements.in
"$venv/bin/pip" check
{
    echo "# Every package of the environment, pinned; Python 3.11, Linux. Made from requirements.in by: make lock"
    # The "+cpu" of a local build is dropped, so that the lock holds wherever that release of torch is to be had.
    "$venv/bin/pip" freeze --all --exclude pip | sed 's/+cpu$//'
} >requirements.lock.new
mv requirements.lock.new requirements.lock
