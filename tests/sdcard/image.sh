# shellcheck shell=bash disable=SC2154,SC2034 # Variables are of scripts/test-image, and for it.
# Tests of scripts/image: what is on the card, always the same, and that it boots. Sourced by
# scripts/test-image.

# The image that the tests are about: small, and with the fake firmware of `brought`, so that no
# package is fetched. An option given again counts.
brought=$work/brought
image=$work/card.img
make_image() {
    scripts/image --no-build --size 40M --firmware "$brought" --output "$image" "$@"
}

the_same_files_give_the_same_image() {
    mkdir "$work/elsewhere"
    # FAT counts in steps of two seconds. An old file must leave no trace.
    sleep 2.1
    head -c 1M /dev/urandom >"$work/elsewhere/again.img"
    (
        cd "$work/elsewhere" || exit
        umask 077
        TZ=Asia/Tokyo LC_ALL=C.UTF-8 "$root/scripts/image" --no-build --size 40M \
            --firmware "$brought" --output again.img
    )
    cmp "$image" "$work/elsewhere/again.img"
    head -c 40M /dev/urandom >"$work/elsewhere/junk.img"
    make_card "$work/elsewhere/junk.img" 40 "$work/files"
    cmp "$image" "$work/elsewhere/junk.img"
}

# The table, read as bytes: one entry, FAT32 by sector address, from 4 MiB to the end.
the_partition_table_has_one_fat32_partition() {
    local entry
    entry=$(od -An -v -tx1 -j 446 -N 66 -w66 "$image" | tr -d ' ')
    [[ ${entry:8:2} == 0c && ${entry:16:16} == "0020000000200100" ]]
    [[ ${entry:32:96} =~ ^0+$ && ${entry:128:4} == 55aa ]]
    [[ $(stat -c %s "$image") -eq $((40 << 20)) ]]
    # The volume's label, in the partition's first sector.
    [[ $(dd if="$image" bs=1 skip=$((8192 * 512 + 71)) count=11 status=none) == "$sdcard_label " ]]
}

# Made, changed and read: each moment in the folder of the card is the fixed one, or none;
# that of the label is the one that mkfs.fat calls invariant.
every_time_on_the_card_is_the_fixed_one() {
    local base reserved fats cluster line times=0
    base=$((sdcard_start * 512))
    reserved=$(od -An -tu2 -j $((base + 14)) -N 2 "$image")
    fats=$(od -An -tu4 -j $((base + 36)) -N 4 "$image")
    cluster=$((base + (reserved + 2 * fats) * 512))
    while read -r line; do
        # Parts of long names have no times.
        [[ ${line:22:2} != 0f && ${line:0:2} != 00 ]] || continue
        if [[ ${line:22:2} == 08 ]]; then
            [[ ${line:28:8} == 5a4b6e46 && ${line:44:8} == 5a4b6e46 ]]
            continue
        fi
        # Time and day of making, day of reading, time and day of writing, little-endian.
        [[ ${line:28:8} =~ ^(00000000|00002100)$ && ${line:36:4} =~ ^(0000|2100)$ ]]
        [[ ${line:44:8} == 00002100 ]]
        times=$((times + 1))
    done < <(od -An -v -tx1 -w32 -j "$cluster" -N 512 "$image" | tr -d ' ')
    [[ $times -ge 6 ]]
}

what_is_read_back_is_what_went_in() {
    local folder
    folder=$(target_folder)/$target/release
    cmp "$folder/kernel.img" "$work/files/kernel8.img"
    cmp "$folder/programs.tar" "$work/files/programs.tar"
    cmp "$raspi4b_dtb" "$work/files/bcm2711-rpi-4-b.dtb"
    cmp "$brought/start4.elf" "$work/files/start4.elf"
    cmp "$brought/fixup4.dat" "$work/files/fixup4.dat"
    cmp "$brought/LICENCE.firmware" "$work/files/LICENCE.firmware"
    [[ $(wc -l <"$work/files/cmdline.txt") -eq 1 ]]
    grep -x 'initramfs programs.tar followkernel' "$work/files/config.txt"
    [[ $(find "$work/files" -type f | wc -l) -eq 10 ]]
}

# Each file that config.txt names is on the card.
settings_name_files_that_are_there() {
    local name
    while read -r name; do
        [[ -f $work/files/$name ]] || { echo "$name is not there" && return 1; }
    done < <(sed -nE 's/^(kernel|device_tree)=//p; s/^initramfs ([^ ]*) .*/\1/p' "$work/files/config.txt")
}

an_image_without_firmware_has_none() {
    scripts/image --no-build --without-firmware --cmdline "init=burst end=reset" \
        --output "$work/bare.img" 2>"$work/said"
    grep "needs start4.elf fixup4.dat" "$work/said"
    read_card "$work/bare.img" "$work/bare"
    [[ ! -e $work/bare/start4.elf && ! -e $work/bare/LICENCE.firmware ]]
    [[ $(<"$work/bare/cmdline.txt") == "init=burst end=reset" ]]
}

images_of_other_sizes_are_sound() {
    local size
    for size in 64M 516M; do
        make_image --output "$work/size.img" --size "$size"
        [[ $(stat -c %s "$work/size.img") -eq $(($(mebibytes size "$size") << 20)) ]]
        rm "$work/size.img"
    done
}

# A changed byte is found, in a file, in the tables or in the partition table.
a_damaged_image_is_not_read_as_a_good_one() {
    local at
    for at in 450 510 $((sdcard_start * 512 + 36)) $((sdcard_start * 512 + 32 * 512 + 40)); do
        cp --sparse=always "$image" "$work/damaged.img"
        printf '\x5a' | dd of="$work/damaged.img" bs=1 seek="$at" conv=notrunc status=none
        ! read_card "$work/damaged.img" "$work/damaged" || { echo "at $at" && return 1; }
        rm -rf "$work/damaged" "$work/damaged.img"
    done
}

wrong_words_to_image_change_nothing() {
    local before
    before=$(sha256sum "$image")
    says 2 "not from 40M" make_image --size 39M
    says 2 "a size is" make_image --size big
    says 2 "trap" make_image --cmdline "semihosting init=demo"
    says 2 "printable" make_image --cmdline $'a\nb'
    says 2 "holds no start4.elf" make_image --firmware "$work"
    says 2 "no such file" make_image --dtb "$work/absent"
    says 2 "a folder" make_image --output "$work"
    says 2 "needs a value" make_image --output
    says 2 "unknown option" make_image "$image"
    says 1 "could not be" make_image --output "$work/absent/card.img"
    [[ $(sha256sum "$image") == "$before" ]]
}

# Both forms that apt knows.
the_firmwares_source_is_the_machines_with_another_component() {
    [[ $(of_component bookworm other <<<"Suites: bookworm
Components: main contrib
Signed-By: bookworm") == "Suites: bookworm
Components: other
Signed-By: bookworm" ]]
    [[ $(of_component bookworm other <<<"deb [arch=amd64] http://a.example bookworm main contrib") == \
        "deb [arch=amd64] http://a.example bookworm other" ]]
}

# files_boot WORDS PATTERN: on `machine`, with the files of the image and no others. The
# program has checked every word that it wrote, and the output has the pattern.
files_boot() {
    local said status=0
    raspi4b_dtb=$work/files/bcm2711-rpi-4-b.dtb
    said=$(boot "$work/files/kernel8.img" "$work/files/programs.tar" "$1" 2>&1) || status=$?
    printf '%s\nended with status %s\n' "$said" "$status"
    [[ $status -eq 0 ]]
    grep -aE 'demo: every word of [0-9]+ pages was as written' <<<"$said"
    grep -aE "$2" <<<"$said"
}

the_files_of_the_image_boot_as_virt() {
    memory=32 swap=64 limit=60
    files_boot "$(base_bootargs) init=demo" 'program ended with status 0'
}

# QEMU lays the programs at 128 MiB, and memory must reach there.
the_files_of_the_image_boot_as_raspi4b() {
    machine=raspi4b memory=40 swap=128 limit=60
    files_boot "$(base_bootargs) init=demo" 'program ended with status 0'
}

# As on a board: with the card's own command line, without semihosting. Only the sizes differ, and a
# reset by the watchdog, not a halt, ends QEMU.
the_command_line_on_the_card_runs_the_demonstration_as_raspi4b() {
    local words
    machine=raspi4b limit=60
    words=$(<"$work/files/cmdline.txt")
    [[ $words == "mem=768M ramdisk=512M init=demo end=halt" ]]
    files_boot "mem=168M ramdisk=128M ${words#*M *M } end=reset" '^mm-reclaim: end status=0'
}

image_tests=(
    the_same_files_give_the_same_image
    the_partition_table_has_one_fat32_partition
    every_time_on_the_card_is_the_fixed_one
    what_is_read_back_is_what_went_in
    settings_name_files_that_are_there
    an_image_without_firmware_has_none
    images_of_other_sizes_are_sound
    a_damaged_image_is_not_read_as_a_good_one
    wrong_words_to_image_change_nothing
    the_firmwares_source_is_the_machines_with_another_component
)

boot_tests=(
    the_files_of_the_image_boot_as_virt
    the_files_of_the_image_boot_as_raspi4b
    the_command_line_on_the_card_runs_the_demonstration_as_raspi4b
)
