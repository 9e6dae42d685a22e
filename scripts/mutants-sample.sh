# shellcheck shell=bash disable=SC2154 # Variables are those of scripts/mutants, which sources this.
# Random samples of mutations, as cargo-mutants makes them. It only lists them, each with its
# diff: they are applied and judged like the manual mutations, which is much quicker than a whole
# test run for each.

equivalents=$root/tests/mutants-equivalent.txt
# What the sample is drawn from is the core that reclaims. Left out: the boot allocator, validation
# and reports (which have tests that damage the state), and other builds' primitives.
left_out=('mm-reclaim/src/boot/memblock/**' 'mm-reclaim/src/validate/**' 'mm-reclaim/src/oom/report.rs'
    mm-reclaim/src/base/lock_order.rs 'mm-reclaim/src/base/sync/**' mm-reclaim/src/base/sync.rs '**/tests.rs')
least_caught=95
most_equivalent=8

# draw_sample SEED: the diffs of all mutations, one a file, and their order in $drawn.
draw_sample() {
    diffs=$copy/diffs
    mkdir "$diffs"
    local exclude=("${left_out[@]/#/--exclude=}")
    (cd "$copy" && cargo mutants --list --diff --colors never --package mm-reclaim "${exclude[@]}") |
        awk -v folder="$diffs" '
            /^mm-reclaim\/[^ ]*:[0-9]+:[0-9]+: / {
                if (file) close(file)
                file = sprintf("%s/%05d", folder, ++n)
                print > file
                next
            }
            # The second line of a header names the mutation, where git wants a file.
            /^--- / { old = $2; print "--- a/" old > file; next }
            /^\+\+\+ / { print "+++ b/" old > file; next }
            { print > file }
        '
    mapfile -t drawn < <(shuffled "$1" "$diffs"/*)
    [[ ${#drawn[@]} -gt 0 ]] || fail "cargo-mutants lists no mutations"
}

# shuffled SEED WORD...: the words in an order that the seed decides, the same everywhere. The
# key of a word comes from squaring modulo a prime below 2^26, which awk's numbers can hold.
shuffled() {
    local seed=$1
    shift
    printf '%s\n' "$@" | LC_ALL=C sort | awk -v seed="$seed" '
        { key = (seed * 7919 + NR * 104729) % 67108859
          for (i = 1; i <= 8; i++) key = (key * key + seed + NR * i) % 67108859
          printf "%08d %s\n", key, $0 }' | LC_ALL=C sort | cut -d ' ' -f 2-
}

# name_of DIFF: FILE:LINE:COLUMN: WHAT
name_of() { head -n 1 "$1"; }

# kind_of NAME: the same without place, so that it outlives changes elsewhere in the file.
kind_of() { sed -E 's/:[0-9]+:[0-9]+: /: /' <<<"$1"; }

# line_of DIFF: the first line that is taken out, without its indentation.
line_of() { sed -nE '4,${/^-/{s/^-[ \t]*//;p;q}}' "$1"; }

list_sample() {
    local diff
    for diff in "${drawn[@]:0:$1}"; do
        name_of "$diff"
    done
    say "of ${#drawn[@]} mutations"
}

# is_equivalent DIFF: the list has it: its kind, and its line where one is given.
is_equivalent() {
    local kind
    kind=$(kind_of "$(name_of "$1")")
    awk -v kind="$kind" -v line="$(line_of "$1")" '
        BEGIN { RS = ""; FS = "\n" }
        {
            hit = 0; lined = 0; here = 0
            for (i = 1; i <= NF; i++) {
                if ($i == kind) hit = 1
                if (substr($i, 1, 2) == "- ") { lined = 1; if (substr($i, 3) == line) here = 1 }
            }
            if (hit && (!lined || here)) { found = 1; exit }
        }
        END { exit !found }' "$equivalents"
}

caught=0
unviable=0
missed=()
listed=()

# judge_sample N MINUTES: draws until N mutations that build have been judged.
judge_sample() {
    local diff end=$((SECONDS + ${2:-999999} * 60))
    for diff in "${drawn[@]}"; do
        ((caught + ${#missed[@]} + ${#listed[@]} < $1 && SECONDS < end)) || break
        judge "$diff"
    done
}

# judge DIFF: one mutation.
judge() {
    local name file start=$SECONDS verdict
    name=$(name_of "$1")
    file=${name%%:*}
    cp "$copy/$file" "$copy/before"
    (cd "$copy" && tail -n +2 "$1" | git apply -) || fail "the diff of $name does not apply"
    if tests; then
        if is_equivalent "$1"; then
            verdict=equivalent
            listed+=("$name")
        else
            verdict=MISSED
            missed+=("$name")
        fi
    elif [[ $culprit == 'the compiler' ]]; then
        verdict=unviable
        unviable=$((unviable + 1))
    else
        verdict=caught
        caught=$((caught + 1))
    fi
    printf '%-10s %3d s  %s  %s\n' "$verdict" $((SECONDS - start)) "$name" "${culprit:+($culprit)}"
    cp "$copy/before" "$copy/$file"
}

# report_sample: the sums, what was missed, and whether that is few enough.
report_sample() {
    local viable=$((caught + ${#missed[@]} + ${#listed[@]})) judged
    judged=$((viable - ${#listed[@]}))
    echo
    if [[ ${#missed[@]} -gt 0 ]]; then
        printf '| %s | %s |\n' missed where '---' '---'
        printf '%s\n' "${missed[@]}" | sed -E 's/\|/\\|/g; s/^([^ ]*): (.*)$/| \2 | \1 |/'
    fi
    [[ ${#listed[@]} -eq 0 ]] || printf 'equivalent: %s\n' "${listed[@]}"
    echo "seed $seed: $viable viable of ${#drawn[@]}: $caught caught, ${#missed[@]} missed," \
        "${#listed[@]} equivalent; $unviable unviable"
    ((viable > 0)) || fail "no mutation was judged"
    awk -v caught="$caught" -v judged="$judged" -v listed="${#listed[@]}" -v viable="$viable" \
        -v least="$least_caught" -v most="$most_equivalent" 'BEGIN {
            of = judged ? 100 * caught / judged : 0; same = 100 * listed / viable
            printf "%.1f %% caught (at least %d %%), %.1f %% equivalent (at most %d %%)\n", of, least, same, most
            exit of < least || same > most
        }'
}
