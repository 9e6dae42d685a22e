# shellcheck shell=bash disable=SC2154 # Variables are of scripts/lib.sh.
# Words of the kernel's command line and of its programs: the known ones and their values.
# Sourced after scripts/lib.sh, never run.
#
# Both stand in tables of Markdown, with the columns word, value and meaning: the kernel's in a
# file that the kernel itself is built with, a program's at the head of its source, a foreign
# one's in a file next to it. kernel/src/bootargs/words.rs describes the values. Here a table is
# a text of lines WORD|VALUE|MEANING.

# table <FILE
# shellcheck disable=SC2016 # Markdown's backquotes are not a command.
table() {
    sed -nE 's/^\| `([^`]*)` \| *(([^|]*[^| ])? *)\| ([^|]*) \|$/\1|\3|\4/p'
}

kernel_words() { table <kernel/src/bootargs/words.md; }

program_words() { about_program "$1" | table; }

# about_program NAME: a program's documentation for its users.
about_program() {
    if is_foreign "$1"; then
        cat "$foreign_folder/$1.md"
    else
        sed -n 's/^\/\/! \{0,1\}//p' "tests/programs/src/bin/$1.rs"
    fi
}

# files_of NAME: the MiB for files that a program gets unless the user decides, as its documentation
# says: a number, or twice the memory.
files_of() {
    local line
    # shellcheck disable=SC2016 # Markdown's backquotes are not a command.
    line=$(about_program "$1" | grep '^`--files` ') || line=
    case $line in
    *twice*) printf '%s' "$((2 * memory))" ;;
    *) printf '%s' "$(sed -nE 's/.* ([0-9]+)M .*/\1/p;q' <<<"$line" | grep . || printf 0)" ;;
    esac
}

# value_of WORD TABLE: its value column in the table; fails if the table does not have the word.
value_of() {
    local known value
    while IFS='|' read -r known value _; do
        [[ $known != "$1" ]] || { printf '%s' "$value" && return; }
    done <<<"$2"
    return 1
}

# names_of TABLE: its words, one a line, without those that are parts of others.
names_of() { sed -n 's/^\([^,|.][^|]*\)|.*/\1/p' <<<"$1"; }

# nearest WORD <LIST: the line of a list that takes the fewest changes to become the word (a
# character more, less or another, or two exchanged); none if half of the word would change.
nearest() {
    WORD=$1 awk '
        function least(a, b) { return a < b ? a : b }
        function distance(a, b,    i, j, d) {
            for (i = 0; i <= length(a); i++) d[i, 0] = i
            for (j = 0; j <= length(b); j++) d[0, j] = j
            for (i = 1; i <= length(a); i++) for (j = 1; j <= length(b); j++) {
                d[i, j] = least(least(d[i - 1, j], d[i, j - 1]) + 1,
                    d[i - 1, j - 1] + (substr(a, i, 1) != substr(b, j, 1)))
                if (i > 1 && j > 1 && substr(a, i - 1, 2) == substr(b, j, 1) substr(b, j - 1, 1))
                    d[i, j] = least(d[i, j], d[i - 2, j - 2] + 1)
            }
            return d[length(a), length(b)]
        }
        {
            changes = distance(ENVIRON["WORD"], $0)
            if (best == "" || changes < fewest) { best = $0; fewest = changes }
        }
        END { if (best != "" && 2 * fewest < length(ENVIRON["WORD"])) print best }'
}

# bytes SIZE: a size in bytes; prints nothing if it is none.
bytes() {
    local number
    [[ $1 =~ ^0*([0-9]{1,9})([KkMmGg]?)$|^0*([0-9]{1,18})$ ]] || return 0
    number=${BASH_REMATCH[1]:-${BASH_REMATCH[3]}}
    case ${BASH_REMATCH[2]} in
    [Kk]) number=$((number << 10)) ;;
    [Mm]) number=$((number << 20)) ;;
    [Gg]) number=$((number << 30)) ;;
    esac
    printf '%s' "$number"
}

# refusal VALUE TEXT TABLE: the error in the text that follows a word, if any.
refusal() {
    local first second
    [[ -n $1 ]] || return 0
    [[ -n $2 ]] || { printf 'the value is missing' && return; }
    case $1 in
    NAME) programs | grep -xF -- "$2" >/dev/null || printf 'no program' ;;
    SIZE) [[ -n $(bytes "$2") ]] || printf 'not a size such as 4096, 64K, 32M or 1G' ;;
    SIZE,SIZE)
        first=$(bytes "${2%%,*}")
        second=$(bytes "${2#*,}")
        [[ $2 == *,* && -n $first && -n $second ]] && ((first <= second)) ||
            printf 'not two limits in ascending order'
        ;;
    SIZE,OPTION...) refusal_of_options "$2" "$3" ;;
    *' to '* | *' or more') refusal_of_number "$2" "${1%% *}" "${1##* }" ;;
    *) [[ /$1/ == */"$2"/* && $2 != */* ]] || printf 'not one of %s' "$1" ;;
    esac
}

# refusal_of_options TEXT TABLE: a size or an option, then options.
refusal_of_options() {
    local parts part name value first=yes
    IFS=, read -ra parts <<<"$1,"
    for part in "${parts[@]}"; do
        name=${part%%=*}
        [[ $part != *=* ]] || name+='='
        if value=$(value_of ",$name" "$2"); then
            refusal "$value" "${part#"$name"}" "$2"
        elif [[ -n $first ]]; then
            refusal SIZE "$part" "$2"
        else
            printf 'an unknown option'
        fi
        first=
    done
}

# refusal_of_number TEXT LEAST MOST, where the most may be "more".
refusal_of_number() {
    local most=$3 range="$2 to $3"
    [[ $3 != more ]] || { most=4294967295 && range="$2 or more"; }
    [[ $1 =~ ^0*([0-9]+)$ ]] || { printf 'not a decimal number' && return; }
    ((${#BASH_REMATCH[1]} <= 10 && BASH_REMATCH[1] >= $2 && BASH_REMATCH[1] <= most)) ||
        printf 'out of range: %s' "$range"
}

# check_words OPTION WORDS TABLE [OWNER]: refuses the first word that the table does not hold, or
# whose value it does not allow. A row of the word "..." allows any.
check_words() {
    local list word name value why
    read -ra list <<<"$2"
    for word in "${list[@]}"; do
        name=${word%%=*}
        [[ $word != *=* ]] || name+='='
        if value=$(value_of "$name" "$3"); then
            why=$(refusal "$value" "${word#"$name"}" "$3")
            [[ -z $why ]] || wrong "$1 $word: $why"
        elif [[ -z $3 ]]; then
            wrong "$1 $word: ${4:-it} takes no words"
        elif ! value_of ... "$3" >/dev/null; then
            wrong "$1 $word: unknown word${4:+ of $4}$(instead_of "$word" "$name" "$3")"
        fi
    done
}

# instead_of WORD NAME TABLE: what was meant, with the value that was given, or what there is.
instead_of() {
    local meant
    meant=$(names_of "$3" | nearest "$2")
    if [[ -z $meant ]]; then
        printf '; there are: %s' "$(names_of "$3" | paste -sd ' ')"
        return
    fi
    [[ $meant != *= || $1 != *=* ]] || meant+=${1#*=}
    printf '; did you mean %s?' "$meant"
}

# explain_words TABLE INDENT: its rows for a person.
explain_words() {
    local word value meaning
    while IFS='|' read -r word value meaning; do
        [[ -n $word ]] || continue
        [[ $word != ,* ]] || word="  $word"
        case $value in
        [A-Z]*) word+=$value value= ;;
        *' or more') word+=N value= ;;
        esac
        printf '%s%-24s %s%s\n' "$2" "$word" "$meaning" "${value:+; $value}"
    done <<<"$1"
}

# explain_programs: each program's first sentence and its words.
explain_programs() {
    local name
    while read -r name; do
        about_program "$name" | awk -v name="$name" '
            ended || /^$/ { ended = 1; next }
            { text = text (text == "" ? "" : " ") $0 }
            /[.:]( |$)/ { ended = 1 }
            END { sub(/[.:]( .*)?$/, "", text); printf "  %-10s %s\n", name, text }
        '
        explain_words "$(program_words "$name")" '      '
    done < <(programs)
}
