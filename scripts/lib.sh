# shellcheck shell=bash disable=SC2034 # Variables are used by the scripts that source this.
# What the scripts share: messages, checks of values, building, and booting in QEMU.
# Sourced, never run. After it the working folder is the root of the project, because
# cargo looks for `.cargo/config.toml` from there.

called_from=$PWD
# Before the shell itself sets it.
told_columns=${COLUMNS:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=aarch64-unknown-none-softfloat
least_qemu=8
# The first that has the machine raspi4b.
least_qemu_raspi4b=9
# The Raspberry Pi 4's device tree, which scripts/setup puts there and git ignores; the environment
# may name another one.
raspi4b_dtb=${RASPI4B_DTB:-target/boards/bcm2711-rpi-4-b.dtb}
cd "$root" || exit
# shellcheck source=scripts/foreign.sh
source scripts/foreign.sh

# A shell that did not read its profile may miss where rustup puts cargo.
if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo ]]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi

say() { printf '%s\n' "$*" >&2; }

# The environment is not as required.
fail() {
    say "${0##*/}: $*"
    exit 1
}

# The caller's arguments are wrong.
wrong() {
    say "${0##*/}: $*"
    exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the comment at the head of a script, which is its help.
help() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
    exit 0
}

# value OPTION [WORD...]: the word after an option, which must be there.
value() {
    [[ $# -ge 2 ]] || wrong "$1 needs a value"
    printf '%s' "$2"
}

# mebibytes OPTION TEXT: a size like 256M or 1G in MiB.
mebibytes() {
    local number
    [[ $2 =~ ^0*([0-9]{1,9})([KMG])$|^0+$ ]] ||
        wrong "$1 $2: a size is a number with K, M or G, such as 256M"
    number=${BASH_REMATCH[1]:-0}
    case ${BASH_REMATCH[2]:-M} in
    G) number=$((number * 1024)) ;;
    K)
        ((number % 1024 == 0)) || wrong "$1 $2: a size must be whole MiB"
        number=$((number / 1024))
        ;;
    esac
    printf '%s' "$number"
}

# words OPTION TEXT: words for the kernel's command line.
words() {
    [[ $2 != *[![:print:]]* ]] || wrong "$1: only printable characters can be passed on"
    printf '%s' "$2"
}

# seconds OPTION TEXT
seconds() {
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || wrong "$1 $2: a time limit is a number of seconds, 1 or more"
    printf '%s' "$2"
}

# The folder that cargo builds into. A script that calls others exports BUILD_FOLDER.
target_folder() {
    if [[ -n ${BUILD_FOLDER:-} ]]; then
        printf '%s' "$BUILD_FOLDER"
        return
    fi
    cargo metadata --format-version 1 --no-deps --offline |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# The programs of this project, one a line.
own_programs() {
    local file
    for file in tests/programs/src/bin/*.rs; do
        file=${file##*/}
        printf '%s\n' "${file%.rs}"
    done
}

# All programs that the initrd may hold, one a line.
programs() {
    own_programs
    foreign_programs
}

# flat_image ELF IMAGE: the loadable bytes of an ELF file, as QEMU and firmware need them.
flat_image() {
    local tool made=$2.$$
    [[ $2 -nt $1 ]] && return
    tool=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/llvm-objcopy
    if [[ -x $tool ]]; then
        "$tool" -O binary "$1" "$made"
    elif have llvm-objcopy; then
        llvm-objcopy -O binary "$1" "$made"
    else
        objcopy -I elf64-little -O binary "$1" "$made"
    fi
    mv -f "$made" "$2"
}

# pack_programs FOLDER ARCHIVE: the programs built into FOLDER as a ustar archive that is
# the same, byte for byte, whenever the programs are. Foreign ones are included if they were built.
pack_programs() {
    local made=$2.$$ names name
    mapfile -t names < <(own_programs)
    while read -r name; do
        [[ ! -f $1/$name ]] || names+=("$name")
    done < <(foreign_programs)
    tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --mode=0755 -C "$1" -cf "$made" "${names[@]}"
    mv -f "$made" "$2"
}

# The machine that boots unless an option or the environment says otherwise.
memory=256  # MiB of RAM
swap=512    # MiB of swap, which the kernel carves out of QEMU's memory
files=0     # MiB for files under /disk, likewise
cpu=cortex-a72
cpus=       # 1 on virt; raspi4b has four, of which fewer can be left off
machine=virt
icount=
limit=900   # seconds
emulation=() # more options for QEMU
disks=()     # raw images for virtio disks
# More virtio disks, a line each: QEMU's options for -drive without id and if, such as
# file=nbd://localhost,format=raw.
drives=${BOOT_DRIVES:-}

# The width of the terminal that the live line is drawn on; 0 where there is none, and plain lines
# appear from time to time.
columns=0

# find_terminal: sets `columns` if the output is a terminal.
find_terminal() {
    local size
    [[ -t 1 ]] || return 0
    { size=$(stty size <&3 2>/dev/null) || size=; } 3<&1
    for columns in "${size#* }" "$told_columns" 80; do
        [[ ! $columns =~ ^[1-9][0-9]{0,2}$ ]] || break
    done
}

# setup_parts PROGRAM: the parts of scripts/setup that the machine needs to boot with it.
setup_parts() {
    printf 'qemu'
    [[ $machine != raspi4b ]] || printf ' raspi4b'
    ! is_foreign "$1" || printf ' cross'
}

# boot IMAGE INITRD BOOTARGS [ARGUMENT...]: boots QEMU and returns the kernel's status. The
# arguments are what semihosting's SYS_GET_CMDLINE answers.
boot() {
    local image=$1 initrd=$2 bootargs=$3 status=0
    local start=$SECONDS semihosting=enable=on,target=native counting=() board=() argument
    shift 3
    for argument; do
        semihosting+=",arg=${argument//,/,,}"
    done
    # One instruction a nanosecond and nothing random: every run is the same.
    # A virtio disk takes real time: while the machine waits for it, its clock runs with that, and
    # does not jump to the next interrupt of the timer, or each request would be late.
    [[ -z $icount ]] || counting=(-icount "shift=0,sleep=$(clock_while_idle)")
    mapfile -t board < <(board_options && disk_options)
    timeout --foreground -k 5 "$limit" qemu-system-aarch64 "${board[@]}" "${counting[@]}" \
        "${emulation[@]}" -nodefaults -display none -no-reboot -semihosting-config "$semihosting" \
        -kernel "$image" -initrd "$initrd" -append "$bootargs" </dev/null |
        for_terminal || status=$?
    ((SECONDS - start < limit)) || say "${0##*/}: not finished after $limit seconds"
    return "$status"
}

# Passes on what a serial line sends: a terminal needs the carriage returns, nothing else does.
for_terminal() {
    if [[ -t 1 ]]; then cat; else sed -u $'s/\r//g'; fi
}

# QEMU's options for the machine, one a line. The kernel rounds the RAM disk up to whole blocks of
# 2 MiB, so that the machine has as much memory as that leaves and RAM besides.
board_options() {
    local model=$cpu${icount:+,cntfrq=1000000000}
    if [[ $machine == raspi4b ]]; then
        # Its memory cannot be chosen. The second serial line is the mini-UART, which the
        # tree calls the console.
        printf '%s\n' -M raspi4b -cpu "$model" -smp 4 -m 2G -dtb "$raspi4b_dtb" \
            -serial null -serial stdio
    else
        printf '%s\n' -M "$machine${icount:+,dtb-randomness=off}" -cpu "$model" \
            -smp "${cpus:-1}" -m "$((memory + (swap + 1) / 2 * 2 + (files + 1) / 2 * 2))M" -serial stdio
    fi
}

clock_while_idle() { if [[ ${#disks[@]} -gt 0 || -n $drives ]]; then echo on; else echo off; fi; }

# QEMU's options for the virtio disks, one a line. The kernel finds them in the order of their buses.
disk_options() {
    local n=0 disk drive attached=()
    for disk in "${disks[@]}"; do
        attached+=("file=${disk//,/,,},format=raw,cache=writeback,werror=report,rerror=report")
    done
    while IFS= read -r drive; do
        [[ -z $drive ]] || attached+=("$drive")
    done <<<"$drives"
    ((${#attached[@]} > 0)) || return 0
    printf '%s\n' -global virtio-mmio.force-legacy=false
    for drive in "${attached[@]}"; do
        printf '%s\n' -drive "$drive,if=none,id=disk$n" \
            -device "virtio-blk-device,drive=disk$n,bus=virtio-mmio-bus.$n"
        n=$((n + 1))
    done
}

# The words that every boot has: how the status is reported, how wide the terminal is, how large swap
# and files are, and on a board whose memory and processors cannot be chosen, how many of them to use.
base_bootargs() {
    printf 'semihosting columns=%s' "$columns"
    [[ $swap -eq 0 ]] || printf ' ramdisk=%sM' "$swap"
    [[ $files -eq 0 ]] || printf ' files=%sM' "$files"
    [[ $machine != raspi4b ]] ||
        printf ' mem=%sM maxcpus=%s' "$((memory + swap + files))" "${cpus:-4}"
}

# Crates by where they are checked and tested. The kernel's library and the suite's harness
# run on the host too, but their images do not, so that these two are listed separately.
host_packages=(
    -p mm-reclaim -p boot -p ext2 -p simulator -p mm-reclaim-conformance -p allocbench -p splitmix
    -p tidy -p treeops
)
kernel_packages=(-p mm-reclaim -p boot -p ext2 -p kernel -p programs -p splitmix)
