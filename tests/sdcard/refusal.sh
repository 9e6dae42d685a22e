# shellcheck shell=bash disable=SC2154,SC2034 # Variables are of scripts/test-image, and for it.
# Tests of scripts/device.sh: which devices are refused, on simulated machines. Sourced by
# scripts/test-image.

# A machine of folders. disk NUMBER NAME SECTORS, then changes by `tell`.
sys=$work/sys
proc=$work/proc
new_machine() {
    rm -rf "$sys" "$proc"
    mkdir -p "$sys"/{dev/block,devices} "$proc/self"
    : >"$proc/self/mountinfo"
    echo "Filename Type Size Used Priority" >"$proc/swaps"
    disk 8:0 sda 2097152
    part 8:1 sda sda1
    disk 8:16 sdb 2097152
    part 8:17 sdb sdb1
    tell sdb removable 1
}

tell() { printf '%s\n' "$3" >"$(find "$sys/devices" -type d -name "$1")/$2"; }

disk() {
    mkdir -p "$sys/devices/$2"/{holders,device}
    ln -s "../../devices/$2" "$sys/dev/block/$1"
    tell "$2" dev "$1"
    tell "$2" size "$3"
    tell "$2" ro 0
    tell "$2" removable 0
}

part() {
    mkdir -p "$sys/devices/$2/$3/holders"
    ln -s "../../devices/$2/$3" "$sys/dev/block/$1"
    tell "$3" dev "$1"
    tell "$3" size 1024
    tell "$3" ro 0
    tell "$3" partition 1
}

# holder NAME MEMBER: a device that MEMBER is part of.
holder() { ln -s "$sys/devices/$1" "$(find "$sys/devices" -type d -name "$2")/holders/$1"; }

mounted() { echo "27 1 $1 / $2 rw,relatime shared:1 - ext4 $3 rw" >>"$proc/self/mountinfo"; }

# objects TEXT NUMBER [BYTES]: writing there is refused, with exactly this objection.
objects() {
    local said
    said=$(objections "$sys" "$proc" "$2" "${3:-1048576}")
    [[ $said == "$1" ]] || { printf 'said: %s\ninstead of: %s\n' "$said" "$1" && return 1; }
}

an_idle_disk_is_not_objected_to() {
    new_machine
    mounted 8:1 / /dev/sda1
    objects "" 8:16
    objects "" 8:16 1073741824
}

a_mounted_disk_or_partition_is_refused() {
    new_machine
    mounted 8:17 '/media/my\040card' /dev/sdb1
    objects "sdb is in use: sdb1 is mounted at /media/my card" 8:16
    new_machine
    mounted 8:16 /mnt /dev/sdb
    objects "sdb is in use: sdb is mounted at /mnt" 8:16
    # A file system of several devices has a number of its own.
    new_machine
    mounted 0:44 /mnt /dev/sdb1
    objects "sdb is in use: sdb1 is mounted at /mnt" 8:16
}

the_systems_disk_is_refused() {
    local place
    for place in / /boot /usr; do
        new_machine
        mounted 8:1 "$place" /dev/sda1
        objects "sda is the system's disk: $place lies on sda1" 8:0
    done
}

# Encryption on a partition, and the root file system on it.
a_disk_below_the_system_is_the_systems() {
    new_machine
    disk 253:0 dm-0 1000
    holder dm-0 sda1
    mounted 253:0 / /dev/mapper/root
    objects "sda is the system's disk: / lies on dm-0
sda is in use: sda1 is part of dm-0" 8:0
}

a_part_of_an_array_or_volume_is_refused() {
    new_machine
    disk 9:0 md0 1000
    disk 253:0 dm-0 1000
    holder md0 sdb
    holder dm-0 md0
    objects "sdb is in use: sdb is part of md0
sdb is in use: md0 is part of dm-0" 8:16
}

swap_is_refused() {
    new_machine
    echo "/dev/sdb1 partition 1000 0 -2" >>"$proc/swaps"
    objects "sdb is in use: sdb1 is swap" 8:16
    new_machine
    echo "/dev/sdb11 partition 1000 0 -2" >>"$proc/swaps"
    objects "" 8:16
}

a_partition_a_small_an_empty_and_a_protected_disk_are_refused() {
    new_machine
    objects "sdb1 is a partition; the image is for the whole disk, sdb" 8:17 1
    objects "sdb is too small: 1073741824 bytes, and the image has 1073741825" 8:16 1073741825
    tell sdb size 0
    objects "sdb has no card in it: its size is 0" 8:16
    new_machine
    tell sdb ro 1
    objects "sdb is write-protected" 8:16
    objects "the kernel knows no block device 8:99" 8:99
}

cards_and_sticks_are_removable_and_disks_are_not() {
    new_machine
    is_removable "$sys" 8:16
    ! is_removable "$sys" 8:0 || return 1
    disk 179:0 mmcblk0 1000
    tell mmcblk0 device/type MMC
    ! is_removable "$sys" 179:0 || return 1
    tell mmcblk0 device/type SD
    is_removable "$sys" 179:0
    tell sdb device/model 'Card  Reader '
    says 0 "sdb: Card Reader, 1024 MiB, removable
  with sdb1, 0 MiB" describe "$sys" 8:16
}

refusal_tests=(
    an_idle_disk_is_not_objected_to
    a_mounted_disk_or_partition_is_refused
    the_systems_disk_is_refused
    a_disk_below_the_system_is_the_systems
    a_part_of_an_array_or_volume_is_refused
    swap_is_refused
    a_partition_a_small_an_empty_and_a_protected_disk_are_refused
    cards_and_sticks_are_removable_and_disks_are_not
)
