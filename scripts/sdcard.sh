# shellcheck shell=bash disable=SC2154 # called_from is of lib.sh.
# The SD image: how it is laid out, made and read back. Sourced after lib.sh, never run.
#
# A partition table of the old kind (MBR) with one FAT32 partition, as the board's boot loader
# expects. Everything that could differ from run to run is fixed: identifiers, times, the order
# of the files; and the rest of the image is zeros.

# Cards are erased in blocks of up to 4 MiB: so a partition should start there.
sdcard_start=8192 # sectors of 512 bytes
sdcard_disk_id=0x6d6d5264
sdcard_label=MM-RECLAIM
# The first moment that FAT can write: 1980-01-01 00:00:00 UTC.
sdcard_epoch=315532800

# Tools for file systems are not in a user's search path.
PATH=$PATH:/usr/sbin:/sbin

# path OPTION TEXT: a file, as the caller names it.
path() {
    [[ -n $2 ]] || wrong "$1: the name of a file is empty"
    case $2 in
    /*) printf '%s' "$2" ;;
    *) printf '%s' "$called_from/$2" ;;
    esac
}

# Runs a tool without the user's settings, and with a fixed time.
steadily() {
    env MTOOLSRC=/dev/null TZ=UTC LC_ALL=C \
        SOURCE_DATE_EPOCH="$sdcard_epoch" "$@"
}

# make_card IMAGE MIB FOLDER: an image of MIB MiB with all files of FOLDER.
make_card() {
    # The order of the names must not depend on the locale.
    local LC_ALL=C image=$1 mib=$2 folder=$3 cluster=1 files
    # Sectors a cluster. FAT32 needs at least 65525 clusters, so small images have small ones.
    ((mib <= 512)) || cluster=8
    rm -f "$image"
    truncate -s "${mib}M" "$image"
    printf '%s\n' "label: dos" "label-id: $sdcard_disk_id" "start=$sdcard_start, type=c" |
        sfdisk --quiet "$image" || return
    # Invariant are the volume's number and the label's time.
    steadily mkfs.fat -F 32 -s "$cluster" -h "$sdcard_start" --invariant -n "$sdcard_label" \
        --offset "$sdcard_start" "$image" $(((mib * 2048 - sdcard_start) / 2)) >/dev/null ||
        return
    files=("$folder"/*)
    touch -d "@$sdcard_epoch" "${files[@]}"
    steadily mcopy -m -i "$image@@$((sdcard_start * 512))" "${files[@]}" ::
}

# card_partitions IMAGE: a line "START SIZE TYPE" for each partition, in sectors.
card_partitions() {
    LC_ALL=C sfdisk --dump "$1" | sed -nE \
        's/^.*: start= *([0-9]+), size= *([0-9]+), type=([0-9a-f]+).*/\1 \2 \3/p'
}

# read_card IMAGE FOLDER: checks table and file system, and copies all files into FOLDER. The
# partition is where the table says, and not where make_card puts it.
read_card() {
    local image=$1 folder=$2 start size type said
    read -r start size type < <(card_partitions "$image") ||
        { say "$image: no partition table" && return 1; }
    [[ $(card_partitions "$image" | wc -l) -eq 1 && $type == c ]] ||
        { say "$image: not one partition of type c (FAT32)" && return 1; }
    mkdir -p "$folder"
    dd if="$image" of="$folder.fat" bs=512 skip="$start" count="$size" conv=sparse status=none
    said=$(fsck.fat -n "$folder.fat" 2>&1) ||
        { say "$image: the file system has errors: $said" && return 1; }
    rm "$folder.fat"
    steadily mcopy -n -m -i "$image@@$((start * 512))" '::*' "$folder"
}

# list_files FOLDER: name, size and the start of the SHA-256 of each file.
list_files() {
    local file
    printf '%-22s %9s  %s\n' file bytes sha256
    for file in "$1"/*; do
        printf '%-22s %9s  %.16s\n' "${file##*/}" "$(stat -c %s "$file")" \
            "$(sha256sum <"$file")"
    done
}
