#!/usr/bin/env bash
# bootstrap.sh data|firmware|tests: Debian packages, installed where apt-get is and may.
#   data      the demo's dataset; optional, edgekd's loader fetches it otherwise
#   firmware  GCC for Arm with newlib, and QEMU; exit 1 with what to do where they are missing and cannot be installed
#   tests     both, compilers for this host and for RISC-V, QEMU for aarch64 programs; optional, tests that need one are skipped and say so
set -u

say() { echo "bootstrap: $*" >&2; }

data=(dataset-fashion-mnist)
firmware=(gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)
others=(gcc g++ libc6-dev gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-user openssh-client adb
    cmake aapt zipalign skopeo chromium fonts-dejavu-core)
# Under systemd the package would start a daemon that others can reach, which no test may do: there tests over ssh want one installed by hand.
[ -d /run/systemd/system ] || others+=(openssh-server)
case "${1:-}" in
data) wanted=("${data[@]}") without="the dataset is downloaded when it is first needed" needed=0 ;;
firmware) wanted=("${firmware[@]}") without="firmware cannot be built or run here" needed=1 ;;
tests) wanted=("${data[@]}" "${firmware[@]}" "${others[@]}") without="what needs them is skipped, and the dataset downloaded" needed=0 ;;
*) say "data, firmware or tests?" && exit 2 ;;
esac

# GCC for Arm and QEMU need not be Debian's. Its GCC comes without the C library's headers.
has_firmware() {
    command -v arm-none-eabi-gcc >/dev/null && command -v qemu-system-arm >/dev/null &&
        echo '#include <string.h>' | arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -E - >/dev/null 2>&1
}
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=()
look() {
    missing=()
    for package in "${wanted[@]}"; do
        [[ " ${firmware[*]} " == *" $package "* ]] && has_firmware && continue
        installed "$package" || missing+=("$package")
    done
}
give_up() {
    say "$*"
    exit "$needed"
}

look
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || give_up "no apt-get here, so without ${missing[*]}: $without"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
        give_up "not root, so without ${missing[*]}: $without; once: sudo apt-get install ${missing[*]}"
    as_root=(sudo -n)
fi

# env, for sudo does not pass variables on.
apt() { timeout 900 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

say "installing ${missing[*]}"
if ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
    # A fresh machine has no package lists yet.
    apt update >/dev/null 2>&1
    if ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
        # One that this release has not would keep the others away.
        for package in "${missing[@]}"; do apt install -y --no-install-recommends "$package" >/dev/null; done
    fi
fi
look
[ ${#missing[@]} -eq 0 ] || give_up "apt-get could not install ${missing[*]}: $without"
