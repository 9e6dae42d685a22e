# shellcheck shell=bash disable=SC2034,SC2154 # Variables are those of the scripts that source this.
# What an image of an SD card needs: tools, and the board's firmware. Its two functions are
# parts of scripts/setup, which sources this file and has what they call.
#
# The firmware is not free: its licence lets it be used with a Raspberry Pi and passed on,
# together with the licence. So the user who makes an image fetches it, and it is not part of this
# project.

firmware_folder=target/boards/firmware
firmware_files=(start4.elf fixup4.dat)
firmware_licence=LICENCE.firmware

# Partition table, file system, files in it. The first and second are in folders with commands for
# root.
setup_sdcard() {
    local PATH=$PATH:/usr/sbin:/sbin
    if ! { have sfdisk && have mkfs.fat && have fsck.fat && have mcopy; }; then
        install fdisk dosfstools mtools
    fi
}

# The licence is written last: a folder that has it is complete.
setup_firmware() {
    [[ ! -s $firmware_folder/$firmware_licence ]] || return 0
    if ! have apt-get || ! have dpkg-deb || [[ $(release ID) != debian ]]; then
        say "setup: the Raspberry Pi 4's firmware is missing, and this is no Debian, where it is a"
        say "package: put ${firmware_files[*]} and their licence, as $firmware_licence, into"
        fail "$firmware_folder, or make an image without them"
    fi
    local folder package files
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # The present value of the folder is meant.
    trap "rm -rf '$folder'" EXIT
    fetch_firmware "$folder" "$(release VERSION_CODENAME)"
    package=$(basename "$folder"/raspi-firmware_*.deb)
    files=$folder/files
    mkdir -p "$firmware_folder"
    cp "${firmware_files[@]/#/$files/usr/lib/raspi-firmware/}" "$firmware_folder"
    { printf 'From the Debian package %s:\n\n' "$package" &&
        cat "$files/usr/share/doc/raspi-firmware/copyright"; } >"$folder/licence"
    mv "$folder/licence" "$firmware_folder/$firmware_licence"
    say "setup: the firmware is in $firmware_folder, its licence in $firmware_licence there"
}

# fetch_firmware FOLDER SUITE: the package, unpacked as FOLDER/files. apt gets lists of its
# own, so that neither rights nor another source of the machine's are needed.
fetch_firmware() {
    local source apt
    source=$(source_of "$2" "$2") || fail "no source of the suite $2 under $etc/apt"
    mkdir -p "$1"/{sources,lists/partial,cache/archives/partial}
    of_component "$2" non-free-firmware <<<"$source" >"$1/sources/firmware.$(form_of "$source")"
    apt=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$1/sources"
        -o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache" -o APT::Sandbox::User=
        -o Acquire::Languages=none)
    say "setup: fetching the Raspberry Pi 4's firmware, which has a licence of its own"
    apt-get "${apt[@]}" update >&2
    (cd "$1" && apt-get "${apt[@]}" download raspi-firmware >&2)
    dpkg-deb -x "$1"/raspi-firmware_*.deb "$1/files"
}

# of_component SUITE COMPONENT: the source of SUITE that is read, with that component alone.
of_component() {
    sed -E "s/^(Components:).*/\1 $2/I; s/^(deb[ \t].*[ \t]$1)[ \t].*/\1 $2/"
}
