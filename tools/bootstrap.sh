#!/usr/bin/env bash
# Debian packages that spare a download. Never fails: what is not to be had here, edgekd's loaders fetch themselves.
set -u
PACKAGES=(dataset-fashion-mnist)

say() { echo "bootstrap: $*" >&2; }

missing=()
for package in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    say "no apt-get here, so without ${missing[*]}; the dataset is downloaded when it is first needed"
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        say "not root, so without ${missing[*]}; the dataset is downloaded when it is first needed"
        say "or, once: sudo apt-get install ${missing[*]}"
        exit 0
    fi
fi

# env, for sudo does not pass variables on.
apt() { timeout 300 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

say "installing ${missing[*]}"
if ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
    # A fresh machine has no package lists yet.
    apt update >/dev/null 2>&1
    apt install -y --no-install-recommends "${missing[@]}" >/dev/null ||
        say "apt-get could not install ${missing[*]}; the dataset is downloaded when it is first needed"
fi
exit 0
