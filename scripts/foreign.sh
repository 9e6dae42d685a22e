# shellcheck shell=bash disable=SC2154 # Variables are those of scripts/lib.sh.
# Programs that were not written for this kernel: C for arm64 Linux, in tests/foreign, unmodified.
# Sourced after scripts/lib.sh, never run. A program NAME is NAME.c there, and NAME.md says what
# it does and which words it takes; the file sha256sums holds the sum of every source.
#
# The C compiler is the one named by the environment's AARCH64_CC, or the first that is there.
# Where there is none, these programs are left out and everything else is built.

foreign_folder=tests/foreign
# Those that the programs were measured with on Linux. No double arithmetic may be fused, for the
# accesses of memload to be the same everywhere; and no loop may become a call of the C library,
# because there is none.
foreign_flags=(-O2 -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns
    -ffp-contract=off -fno-stack-protector -fno-pie -no-pie -nostdlib -static)

# The programs, one a line.
foreign_programs() {
    local file
    for file in "$foreign_folder"/*.c; do
        file=${file##*/}
        printf '%s\n' "${file%.c}"
    done
}

# is_foreign NAME
is_foreign() { [[ -f $foreign_folder/$1.c ]]; }

# The C compiler for arm64; fails if there is none.
foreign_compiler() {
    local name=aarch64-linux-gnu-gcc
    # On such a machine the plain one is it.
    [[ $HOSTTYPE != aarch64 ]] || have "$name" || name=gcc
    name=${AARCH64_CC:-$name}
    have "$name" && printf '%s' "$name"
}

# check_foreign: every source is the one whose sum is written down, and none is without a sum.
check_foreign() {
    local file wanted found
    for file in "$foreign_folder"/*.[ch]; do
        wanted=$(sed -n "s/^\([0-9a-f]\{64\}\)  ${file##*/}\$/\1/p" "$foreign_folder/sha256sums")
        found=$(sha256sum <"$file")
        [[ ${found%% *} == "$wanted" ]] ||
            fail "$file was changed: its sum is not that of $foreign_folder/sha256sums"
    done
}

# build_foreign FOLDER: builds each program whose sources, flags or compiler are others than
# those that the file in FOLDER was made from.
build_foreign() {
    local compiler name made from
    check_foreign
    if ! compiler=$(foreign_compiler); then
        say "${0##*/}: left out, there is no C compiler for arm64 (scripts/setup cross):" \
            "$(foreign_programs | paste -sd ' ')"
        while read -r name; do
            rm -f "$1/$name" "$1/$name.from"
        done < <(foreign_programs)
        return
    fi
    from=$(cat "$foreign_folder/sha256sums" && echo "${foreign_flags[*]}" &&
        "$compiler" --version)
    mkdir -p "$1"
    while read -r name; do
        [[ ! -x $1/$name || $(cat "$1/$name.from" 2>/dev/null) != "$from" ]] || continue
        made=$1/$name.$$
        "$compiler" "${foreign_flags[@]}" -o "$made" "$foreign_folder/$name.c" ||
            fail "$foreign_folder/$name.c: $compiler does not compile it"
        mv -f "$made" "$1/$name"
        printf '%s\n' "$from" >"$1/$name.from"
    done < <(foreign_programs)
}
