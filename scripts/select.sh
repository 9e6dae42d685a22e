# shellcheck shell=bash
# The tests that a word selects: a row of the specification (those whose comment or body names it),
# a part of a test's name, or a workload. Sourced by scripts/test after scripts/lib.sh, never run.
#
# A test is looked up in the sources, so that nothing need be built to report that there is none. It
# is a line "KIND NAME", whose kind says how it is run:
#
#   host PACKAGE      by cargo on the host, as do those of kernel:lib, kernel:memory, kernel:boot
#   model             by scripts/models
#   suite             in a QEMU of its own, in the kernel
#   debug-suite       there, where only a debug build has it
#   workload          a row of tests/workloads.txt

shopt -s globstar nullglob

# is_row WORD
is_row() { [[ $1 =~ ^[A-Z]+-[0-9]{2}$ ]]; }

# text_of WORD: its text in the specification, if it is a row.
text_of() {
    ! is_row "$1" || WORD=$1 awk -F ' *[|] *' '
        $2 == ENVIRON["WORD"] { print $2 ($4 == "planned" ? " (planned): " : ": ") $3 }
    ' docs/specification.md
}

# matching WORD: the lines of all tests that a word means.
matching() {
    local row=
    ! is_row "$1" || row=yes
    WORD=$1 ROW=$row awk '
        function kind_of(file) {
            if (file ~ /^tests\/models\/tests\//) return "model"
            if (file ~ /^tests\/suite\/tests\//) return "suite"
            if (file ~ /^kernel\/tests\/boot\//) return "host kernel:boot"
            if (file ~ /^kernel\/tests\//) return "host kernel:memory"
            if (file ~ /^kernel\//) return "host kernel:lib"
            if (file ~ /\/under_loom\//) return "model"
            if (file ~ /^tests\/conformance\//) return "host mm-reclaim-conformance"
            sub(/^tests\//, "", file)
            sub(/\/.*/, "", file)
            return "host " file
        }
        # The rows in the tests of tidy are samples.
        function is_meant(name, text) {
            return ROW ? kind != "host tidy" && index(text, WORD) : index(name, WORD)
        }
        # A whole entry of a list of the suite: what a test is called, and its function.
        function learn_name(entry,    parts, in_debug) {
            in_debug = sub(/\.only_if\(is_debug\),$/, "", entry)
            sub(/\.only_if\([a-z_]*\),$/, "", entry)
            split(entry, parts, "\"")
            sub(/[, )]*$/, "", entry)
            sub(/.*[^a-z0-9_]/, "", entry)
            suites[parts[2]] = in_debug ? "debug-suite" : "suite"
            listed[entry] = parts[2]
        }
        function finish(    name) {
            if (kind == "suite") {
                name = listed[title]
                if (name != "" && is_meant(name, text)) print suites[name], name
            } else if (tests && is_meant(title, text)) {
                print kind, title
            }
            title = ""
        }
        BEGIN { WORD = ENVIRON["WORD"]; ROW = ENVIRON["ROW"]; if (!ROW) gsub(/[ -]/, "_", WORD) }
        FNR == 1 { kind = kind_of(FILENAME); title = ""; text = ""; tests = 0; split("", listed) }
        kind == "suite" && /^ *Test::(new|long|fatal)\(/ { match($0, /^ */); indent = RLENGTH; entry = "" ; open = 1 }
        open {
            entry = entry $0
            match($0, /^ */)
            if (/\),$/ && (RLENGTH == indent || /^ *\.only_if/)) { learn_name(entry); open = 0 }
            next
        }
        # The contract of the environment, which the suite checks on the kernel.
        FILENAME ~ /conformance\/src\/lib.rs$/ && split($0, parts, "\"") == 3 { suites[parts[2]] = "suite" }
        title == "" && /^ *(\/\/|#\[)/ { text = text "\n" $0; if (/#\[test\]/) tests = 1; next }
        title == "" && /^ *(pub )?fn [a-z0-9_]+/ {
            match($0, /^ */)
            end = substr($0, 1, RLENGTH) "}"
            title = $0
            sub(/^ *(pub )?fn /, "", title)
            sub(/[^a-z0-9_].*/, "", title)
            text = text "\n" $0
            if (/[}]$/) { finish(); text = ""; tests = 0 }
            next
        }
        title != "" { text = text "\n" $0; if ($0 == end) { finish(); text = ""; tests = 0 }; next }
        { text = ""; tests = 0 }
        # Also those whose function is a closure.
        END { if (!ROW) for (name in suites) if (is_meant(name, "")) print suites[name], name }
    ' {mm-reclaim,boot,ext2,kernel}/{src,tests,examples}/**/*.rs tests/**/*.rs
    WORD=$1 ROW=$row awk -F '|' '
        BEGIN { WORD = ENVIRON["WORD"]; ROW = ENVIRON["ROW"] }
        /^#/ { comment = (in_comment ? comment : "") $0; in_comment = 1; next }
        { in_comment = 0 }
        NF < 4 { comment = ""; next }
        {
            gsub(/^ *(long: *)?| *$/, "", $1)
            program = index($2 " ", "--workload " WORD " ")
            if (ROW ? index(comment, WORD) : index($1, WORD) || program) print "workload", $1
        }
    ' tests/workloads.txt
}

# names_of_kind KIND TESTS: the names of the tests of a kind, one a line.
names_of_kind() { sed -n "s|^$1 ||p" <<<"$2"; }

# host_kinds TESTS: where tests on the host are, each once.
host_kinds() { sed -n 's/^host \([^ ]*\) .*/\1/p' <<<"$1" | sort -u; }
