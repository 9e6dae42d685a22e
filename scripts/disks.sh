# shellcheck shell=bash
# Images of disks for tests, made with the tools of the host: mkswap, mke2fs and sfdisk.
# Sourced after scripts/lib.sh, never run.
#
# A disk is named KIND:SIZE, such as swap:64M:
#   swap  all of it is for swap
#   mbr   an MBR; the first partition, and a logical one, take half each and are for swap
#   gpt   a GPT, whose two partitions likewise
#   ext   an empty ext2 with blocks of 4 KiB
#   small the same with blocks of 1 KiB
#   both  a GPT; half of it is for swap, and half an ext2
#   raw   zeroes

# The tools are in folders with commands for root.
disk_tool() { PATH=$PATH:/usr/sbin:/sbin "$@"; }

# make_disk KIND:SIZE FILE
make_disk() {
    local size
    size=$(mebibytes "$1" "${1#*:}") || return
    rm -f "$2"
    truncate -s "${size}M" "$2"
    case $1 in
    swap:*) disk_tool mkswap "$2" >/dev/null 2>&1 ;;
    mbr:*) make_partitions "$2" "$size" dos 2048 ;;
    gpt:*) make_partitions "$2" "$size" gpt 0 ;;
    ext:*) make_ext2 "$2" 4096 ;;
    small:*) make_ext2 "$2" 1024 ;;
    both:*) make_partitions "$2" "$size" gpt 0 && make_ext2_in_half "$2" "$size" ;;
    raw:*) ;;
    *) wrong "$1: an unknown kind of disk" ;;
    esac
}

# make_partitions FILE MEBIBYTES LABEL GAP: the first MiB and the last are the table's. The
# second partition begins GAP sectors behind its half, where a logical one has its entry.
make_partitions() {
    local half=$((($2 - 2) * 1024)) second
    second=$((2048 + half))
    {
        printf 'label: %s\n' "$3"
        printf 'start=2048, size=%s, type=swap\n' "$half"
        [[ $3 != dos ]] || printf 'start=%s, size=%s, type=extended\n' "$second" "$half"
        printf 'start=%s, size=%s, type=swap\n' "$((second + $4))" "$((half - $4))"
    } | disk_tool sfdisk -q "$1" >/dev/null || return
    make_swap_at "$1" 2048 "$half" && make_swap_at "$1" "$((second + $4))" "$((half - $4))"
}

# make_ext2 FILE BYTES: an empty file system with blocks of so many bytes.
make_ext2() { disk_tool mke2fs -q -F -t ext2 -b "$2" "$1" >/dev/null; }

# make_ext2_in_half FILE MEBIBYTES: the same in the second partition that make_partitions makes.
make_ext2_in_half() {
    local start=$((1 + ($2 - 2) / 2))
    dd if=/dev/zero of="$1" bs=1M seek="$start" count=1 conv=notrunc status=none
    disk_tool mke2fs -q -F -t ext2 -b 4096 -E "offset=$((start << 20))" "$1" \
        "$((($2 - 2) * 128))" >/dev/null
}

# is_ext2 FILE: whether there is a superblock.
is_ext2() { [[ $(od -An -tx2 -j1080 -N2 "$1") == " ef53" ]]; }

# check_ext2 FILE: whether e2fsck finds nothing to do.
check_ext2() {
    local said
    said=$(disk_tool e2fsck -fn "$1" 2>&1) && return
    printf '%s\n' "$said"
    return 1
}

# make_swap_at FILE SECTOR SECTORS: mkswap on a part of a disk.
make_swap_at() {
    local part=$1.part
    truncate -s "$(($3 * 512))" "$part"
    disk_tool mkswap "$part" >/dev/null 2>&1 &&
        dd if="$part" of="$1" bs=512 seek="$2" count=8 conv=notrunc status=none
    rm -f "$part"
}
