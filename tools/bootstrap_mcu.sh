#!/usr/bin/env bash
# Debian packages that build firmware and run it: Arm's GCC with newlib, and QEMU. Exit 1, with what to do, where one of the programs is
# missing and cannot be installed from here.
set -u
PROGRAMS=(arm-none-eabi-gcc qemu-system-arm)
PACKAGES=(gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)

say() { echo "bootstrap: $*" >&2; }
complete() {
    for program in "${PROGRAMS[@]}"; do command -v "$program" >/dev/null || return 1; done
    # Debian's GCC comes without the C library's headers.
    echo '#include <string.h>' | arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -E - >/dev/null 2>&1
}

complete && exit 0

if ! command -v apt-get >/dev/null; then
    say "no apt-get here: install GCC for arm-none-eabi with newlib, and QEMU's qemu-system-arm, and put them on PATH"
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        say "not root; to mend, once:  sudo apt-get install ${PACKAGES[*]}"
        exit 1
    fi
fi

# env, for sudo does not pass variables on.
apt() { timeout 900 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

say "installing ${PACKAGES[*]}"
if ! apt install -y --no-install-recommends "${PACKAGES[@]}" >/dev/null 2>&1; then
    # A fresh machine has no package lists yet.
    apt update >/dev/null 2>&1
    apt install -y --no-install-recommends "${PACKAGES[@]}" >/dev/null
fi
complete && exit 0
say "apt-get could not install ${PACKAGES[*]}"
exit 1
