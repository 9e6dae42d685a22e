# shellcheck shell=bash disable=SC2154 # The scratch file is the caller's.
# Which devices a card's image may be written to, and writing and comparing. Sourced after
# lib.sh, never run.
#
# A device is judged by its number (MAJOR:MINOR), since it may have many names, and by what the
# kernel reports about it in two folders that are arguments: SYS (/sys) and PROC (/proc). The tests
# have folders of their own. Nothing here reads a device's contents.

# device_number FILE: of a block device.
device_number() {
    local major minor
    read -r major minor < <(stat -L -c '%t %T' -- "$1") || return
    printf '%d:%d' "0x$major" "0x$minor"
}

# attribute SYS NUMBER NAME: the attribute in SYS, or nothing.
attribute() {
    local file=$1/dev/block/$2/$3
    [[ ! -r $file ]] || tr -s ' ' <"$file" | sed 's/ *$//'
}

# device_name SYS NUMBER: as in /dev.
device_name() {
    local name
    name=$(basename "$(readlink -f "$1/dev/block/$2")")
    printf '%s' "${name//!//}"
}

# family SYS NUMBER: a line "NUMBER NAME ORIGIN" for a disk, each of its partitions, and what
# is built on any of them: encryption, volumes, arrays. ORIGIN is what lies below.
family() {
    local folder=$1/dev/block/$2 name member
    name=$(device_name "$1" "$2")
    printf '%s %s %s\n' "$2" "$name" "${3:--}"
    for member in "$folder"/*/partition "$folder"/holders/*/dev; do
        [[ -f $member ]] || continue
        family "$1" "$(cat "${member%/*}/dev")" "$name"
    done
}

# mounts SYS PROC NUMBER: a line "NAME PLACE" for each file system that lies on the family.
# A file system of several devices has a number that is none of theirs; its source counts.
mounts() {
    local place name
    while read -r name place; do
        # The kernel writes blanks in octal.
        printf '%s %b\n' "$name" "${place//\\/\\0}"
    done < <(awk '
        NR == FNR { name[$1] = $2; known["/dev/" $2] = $2; next }
        {
            for (i = 7; i <= NF && $i != "-"; i++) { }
            if ($3 in name) print name[$3], $5
            else if ($(i + 2) in known) print known[$(i + 2)], $5
        }' <(family "$1" "$3") "$2/self/mountinfo")
}

# The places that make a disk the system's.
system_places='/ /boot /boot/efi /boot/firmware /home /usr /var'

# objections SYS PROC NUMBER BYTES: why a device must not be written to, a line each. No option
# overrides any of them.
objections() {
    local sys=$1 proc=$2 number=$3 bytes=$4 name size member line place
    name=$(device_name "$sys" "$number")
    if [[ ! -e $sys/dev/block/$number/size ]]; then
        echo "the kernel knows no block device $number"
        return
    fi
    [[ ! -e $sys/dev/block/$number/partition ]] ||
        echo "$name is a partition; the image is for the whole disk," \
            "$(basename "$(dirname "$(readlink -f "$sys/dev/block/$number")")")"
    [[ $(attribute "$sys" "$number" ro) == 0 ]] || echo "$name is write-protected"
    size=$(($(attribute "$sys" "$number" size) * 512))
    if ((size == 0)); then
        echo "$name has no card in it: its size is 0"
    elif ((size < bytes)); then
        echo "$name is too small: $size bytes, and the image has $bytes"
    fi
    while read -r line place; do
        case " $system_places " in
        *" $place "*) echo "$name is the system's disk: $place lies on $line" ;;
        *) echo "$name is in use: $line is mounted at $place" ;;
        esac
    done < <(mounts "$sys" "$proc" "$number")
    while read -r member line place; do
        # A device with another one built on it is in use, mounted or not.
        [[ $place == - || -e $sys/dev/block/$member/partition ]] ||
            echo "$name is in use: $place is part of $line"
        ! awk '{ print $1 }' "$proc/swaps" | grep -xF "/dev/$line" >/dev/null ||
            echo "$name is in use: $line is swap"
    done < <(family "$sys" "$number")
}

# is_removable SYS NUMBER: a card reader or a stick. The slot of a board or a laptop reports its
# card as fixed, but as an SD card.
is_removable() {
    [[ $(attribute "$1" "$2" removable) == 1 || $(attribute "$1" "$2" device/type) == SD ]]
}

# describe SYS NUMBER: what would be lost.
describe() {
    local size model number name
    size=$(($(attribute "$1" "$2" size) * 512))
    model=$(attribute "$1" "$2" device/model)
    model=${model:-$(attribute "$1" "$2" device/name)}
    printf '%s: %s%s MiB, %s\n' "$(device_name "$1" "$2")" "${model:+$model, }" $((size >> 20)) \
        "$(is_removable "$1" "$2" && echo removable || echo 'not removable')"
    while read -r number name _; do
        [[ $number == "$2" ]] || printf '  with %s, %s MiB\n' "$name" \
            $(($(attribute "$1" "$number" size) >> 11))
    done < <(family "$1" "$2")
}

chunk=$((4 << 20))

# progress WORD DONE ALL: one line that is redrawn, or from time to time a line for a log.
progress() {
    if [[ -t 2 ]]; then
        printf '\r%s %d of %d MiB ' "$1" $(($2 >> 20)) $(($3 >> 20)) >&2
        (($2 < $3)) || say
    elif (($2 == $3)); then
        say "$1 $(($2 >> 20)) of $(($3 >> 20)) MiB"
    fi
}

# write_card IMAGE TARGET FLAG: FLAG is `direct` for devices: what counts as written has then left
# the page cache, and the device was flushed. The start of the card is cleared first and written
# last: an incomplete card has no partition table. Sets `written`.
write_card() {
    local image=$1 target=$2 bytes chunks i
    local options=(bs="$chunk" count=1 status=none conv="nocreat,notrunc${3:+,fsync}")
    [[ -z $3 ]] || options+=(oflag="$3")
    bytes=$(stat -L -c %s "$image")
    chunks=$(((bytes + chunk - 1) / chunk))
    written=0
    dd if=/dev/zero of="$target" "${options[@]}" bs=4096 || return
    for ((i = 1; i <= chunks; i++)); do
        dd if="$image" of="$target" skip=$((i % chunks)) seek=$((i % chunks)) \
            "${options[@]}" || return
        written=$((i < chunks ? i * chunk : bytes))
        progress written "$written" "$bytes"
    done
}

# compare_card IMAGE TARGET FLAG: reads the target, past the page cache if FLAG is `direct`,
# and says where it first differs. A cache within the card cannot be bypassed; it was flushed by
# the `fsync` of each piece. The caller provides a file, `scratch`.
compare_card() {
    local image=$1 target=$2 options=(bs="$chunk" count=1 status=none) bytes i length said
    bytes=$(stat -L -c %s "$image")
    [[ -z $3 ]] || options+=(iflag="$3")
    for ((i = 0; i * chunk < bytes; i++)); do
        length=$((bytes - i * chunk < chunk ? bytes - i * chunk : chunk))
        dd if="$target" of="$scratch" skip="$i" "${options[@]}" || return
        said=$(LC_ALL=C cmp -n "$length" "$scratch" \
            <(dd if="$image" skip="$i" bs="$chunk" count=1 status=none) 2>&1) || {
            said=$(sed -nE 's/.* (byte|char) ([0-9]+).*/\2/p' <<<"$said")
            say "what was read back differs from the image at byte" $((i * chunk + ${said:-1} - 1))
            return 1
        }
        progress compared $((i * chunk + length)) "$bytes"
    done
}
