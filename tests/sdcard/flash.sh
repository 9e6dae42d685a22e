# shellcheck shell=bash disable=SC2154,SC2034 # Variables are of scripts/test-image, and for it.
# Tests of scripts/flash: what it does with files and, as root, with loop devices. Sourced by
# scripts/test-image.
# shellcheck disable=SC2016 # The bodies of fake tools are expanded later.

flash() { scripts/flash --image "$image" "$@"; }

targets_that_are_no_disk_are_refused() {
    says 1 "no such device" flash /dev/absent
    says 2 "neither a disk nor a file" flash "$work"
    says 2 "neither a disk nor a file" flash /dev/null
    says 2 "a file, not a device" flash "$work/target"
    says 2 "needs a device" flash
    says 2 "one device at a time" flash "$work/target" "$work/target"
    says 2 "unknown option" flash --force "$work/target"
    says 2 "one of them" flash --dry-run --compare "$work/target"
    says 1 "the image itself" flash --file "$image"
    [[ -z $(tr -d '\125' <"$work/target") ]]
}

images_that_are_none_are_refused() {
    : >"$work/empty"
    says 1 "no such file" flash --image "$work/absent" --file "$work/target"
    says 1 "not whole sectors" flash --image "$work/empty" --file "$work/target"
    says 1 "no image of a card" flash --image /dev/stdin --file "$work/target" </dev/null ||
        says 1 "no such file" flash --image /dev/stdin --file "$work/target" </dev/null
    says 1 "no image of a card" flash --image "$work/none" --file "$work/target"
    [[ -z $(tr -d '\125' <"$work/target") ]]
}

# A target of 'U's, larger than the image by a piece and a bit.
new_target() { head -c "$(($(stat -c %s "$image") + chunk + 1))" /dev/zero | tr '\0' U >"$work/target"; }

a_dry_run_writes_nothing() {
    says 0 "nothing was done" flash --file --dry-run "$work/target"
    [[ -z $(tr -d '\125' <"$work/target") ]]
}

a_target_that_is_too_small_is_left_alone() {
    head -c "$(($(stat -c %s "$image") - 512))" /dev/zero >"$work/small"
    says 1 "too small" flash --file "$work/small"
    [[ -z $(tr -d '\0' <"$work/small") ]]
}

a_file_is_written_and_compared_and_nothing_beyond_the_image() {
    local bytes
    bytes=$(stat -c %s "$image")
    says 0 "read back and compared" flash --file "$work/target"
    cmp -n "$bytes" "$image" "$work/target"
    [[ $(tail -c +"$((bytes + 1))" "$work/target" | tr -d U | wc -c) -eq 0 ]]
    [[ $(stat -c %s "$work/target") -eq $((bytes + chunk + 1)) ]]
}

# An image that does not end at a piece's end, and a byte in its last sector.
a_changed_byte_is_found_by_comparing() {
    local at
    head -c $((chunk + 1536)) "$image" >"$work/odd.img"
    cp "$work/odd.img" "$work/odd"
    says 0 "holds" flash --image "$work/odd.img" --file --compare "$work/odd"
    for at in 0 5000 "$chunk" $((chunk + 1535)); do
        cp "$work/odd.img" "$work/odd"
        printf '\x5a' | dd of="$work/odd" bs=1 seek="$at" conv=notrunc status=none
        says 1 "differs from the image at byte $at" \
            flash --image "$work/odd.img" --file --compare "$work/odd"
        [[ $(dd if="$work/odd" bs=1 skip="$at" count=1 status=none) == Z ]]
    done
}

# A faulty card: its `dd` writes something else in one place.
a_card_that_does_not_keep_what_is_written_is_found() {
    pretend_dd '"$dd" "$@" || exit
        [[ "$*" != *of=*target*seek=5* ]] ||
            printf Z | "$dd" of="$work/target" bs=1 seek=20971597 conv=notrunc status=none'
    PATH=$work/bin:$PATH says 1 "differs from the image at byte $((5 * chunk + 77))" \
        flash --file "$work/target"
    PATH=$work/bin:$PATH says 1 "THE CARD IS INCOMPLETE" flash --file "$work/target"
}

# pretend_dd BODY: another dd, in which $dd is the real one.
pretend_dd() {
    mkdir -p "$work/bin"
    printf '#!/bin/bash\ndd=%q work=%q\n%s\n' "$(command -v dd)" "$work" "$1" >"$work/bin/dd"
    chmod +x "$work/bin/dd"
}

a_write_that_fails_is_told() {
    pretend_dd '[[ "$*" != *of=*target*seek=3* ]] || { echo "dd: no space" >&2; exit 1; }
        exec "$dd" "$@"'
    PATH=$work/bin:$PATH says 1 "THE CARD IS INCOMPLETE: 8 of 40 MiB" flash --file "$work/target"
}

an_interrupted_card_is_told_of_and_has_no_partition_table() {
    local status=0 script
    flash --file "$work/target"
    pretend_dd '[[ "$*" != *of=*target*seek=2* ]] || { touch "$work/reached"; sleep 1; }
        exec "$dd" "$@"'
    PATH=$work/bin:$PATH scripts/flash --image "$image" --file "$work/target" 2>"$work/said" &
    script=$!
    for _ in {1..50}; do [[ ! -e $work/reached ]] || break; sleep 0.1; done
    kill -TERM "$script"
    wait "$script" || status=$?
    [[ $status -eq 143 ]]
    grep "THE CARD IS INCOMPLETE" "$work/said"
    [[ $(head -c 512 "$work/target" | tr -d '\0' | wc -c) -eq 0 ]]
}

# attach FILE [OPTION...]: sets `loop` to a loop device on it.
attach() {
    loop=$(losetup --find --show "${@:2}" "$1") || return
    loops+=("$loop")
    loop_name=${loop##*/}
}

a_disk_that_is_not_removable_must_be_named() {
    says 1 "--not-removable --name $loop_name" flash "$loop"
    says 1 "--not-removable --name $loop_name" flash --not-removable "$loop"
    says 1 "--not-removable --name $loop_name" flash --name "$loop_name" "$loop"
    says 1 "but $loop is $loop_name" flash --not-removable --name "${loop_name}9" "$loop"
    says 2 "is a device" flash --file "$loop"
    [[ -z $(tr -d '\125' <"$work/disk") ]]
}

a_disk_is_written_and_compared() {
    flash --not-removable --name "$loop_name" --dry-run "$loop"
    [[ -z $(tr -d '\125' <"$work/disk") ]]
    says 0 "read back and compared" flash --not-removable --name "$loop_name" "$loop"
    cmp -n "$(stat -c %s "$image")" "$image" "$work/disk"
    says 0 "holds" flash --compare "$loop"
}

a_partition_of_a_disk_is_refused() {
    addpart "$loop" 1 8192 8192
    says 1 "is a partition" flash --dry-run --not-removable --name "${loop_name}p1" "${loop}p1"
    delpart "$loop" 1
}

a_mounted_disk_is_refused_whatever_is_said() {
    mkdir -p "$work/mounted"
    addpart "$loop" 1 8192 32768
    mkfs.ext4 -q "${loop}p1"
    mount -o ro "${loop}p1" "$work/mounted"
    says 1 "$loop_name is in use: ${loop_name}p1 is mounted at $work/mounted" \
        flash --dry-run --not-removable --name "$loop_name" "$loop"
    umount "$work/mounted"
    flash --dry-run --not-removable --name "$loop_name" "$loop"
    delpart "$loop" 1
}

# Held by a process, which no list of the kernel shows.
a_disk_of_which_something_holds_a_part_is_refused() {
    local before
    addpart "$loop" 1 8192 8192
    before=$(sha256sum <"$work/disk")
    exec 9<"${loop}p1"
    says 1 "is in use" flash --not-removable --name "$loop_name" "$loop"
    exec 9<&-
    [[ $(sha256sum <"$work/disk") == "$before" ]]
    delpart "$loop" 1
    flash --not-removable --name "$loop_name" "$loop"
}

the_disk_of_this_machine_is_refused() {
    local source
    source=$(awk '$5 == "/" { for (i = 7; $i != "-"; i++) { } print $(i + 2) }' /proc/self/mountinfo)
    [[ -b $source ]] || { echo "/ is on no disk" && return; }
    says 1 "/ lies on" flash --dry-run --not-removable --name "${source##*/}" "$source"
}

file_tests=(
    targets_that_are_no_disk_are_refused
    images_that_are_none_are_refused
    a_dry_run_writes_nothing
    a_target_that_is_too_small_is_left_alone
    the_disk_of_this_machine_is_refused
    a_file_is_written_and_compared_and_nothing_beyond_the_image
    a_changed_byte_is_found_by_comparing
    a_card_that_does_not_keep_what_is_written_is_found
    a_write_that_fails_is_told
    an_interrupted_card_is_told_of_and_has_no_partition_table
)

loop_tests=(
    a_disk_that_is_not_removable_must_be_named
    a_disk_is_written_and_compared
    a_partition_of_a_disk_is_refused
    a_mounted_disk_is_refused_whatever_is_said
    a_disk_of_which_something_holds_a_part_is_refused
)
