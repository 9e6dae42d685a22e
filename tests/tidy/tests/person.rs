//! What a user at the command line meets: a typing error is refused before anything is built, with
//! the nearest word; help and documents name every word there is; piped output has no carriage
//! returns.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("it is here");
    folder.ancestors().nth(2).expect("two folders below the root").to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A folder at the front of the search path. It has a `cargo` that fails, so that nothing is built,
/// and a QEMU that prints its arguments and ends its lines as a serial line does.
struct Stage {
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidy-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for tools");
        let stage = Self { folder };
        stage.tool("cargo", "echo >>\"${0%/*}/built\"; exit 1");
        stage.tool(
            "qemu-system-aarch64",
            "printf 'booted with %s\\r\\n' \"$*\"; printf '\\rwrite 45%%\\rwrite 46%%\\r\\n'; exit 7",
        );
        stage
    }

    fn tool(&self, name: &str, body: &str) {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).expect("a tool");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a tool runs");
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(root())
            .env("PATH", format!("{}:{path}", self.folder.display()))
            .env("BUILD_FOLDER", &self.folder)
            .env_remove("COLUMNS");
        command
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let path = root().join("scripts").join(script);
        self.command(path).args(arguments).output().expect("a script starts")
    }

    /// The message of a script that refuses its arguments: one line, before anything is built.
    fn refusal(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{arguments:?}: {said}");
        assert!(!self.folder.join("built").exists(), "{arguments:?}: something was built");
        said
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A folder left in the system's temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The first column of the tables of words in a text, which are in Markdown backquotes.
fn words_of(text: &str) -> Vec<&str> {
    let rows = text.lines().map(|line| line.trim_start_matches("//! "));
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once("` |")?.0)).collect()
}

fn programs() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join("tests/programs/src/bin")).expect("programs");
    let paths = folder.map(|entry| entry.expect("a program").path());
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    paths
        .map(|path| (name(&path).expect("a name"), fs::read_to_string(&path).expect("a source")))
        .collect()
}

/// The programs of C, each with what is written for those who run it.
fn foreign_programs() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join("tests/foreign")).expect("foreign programs");
    let names =
        folder.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
    let names = names.filter_map(|name| Some(name.strip_suffix(".c")?.to_owned()));
    names.map(|name| (name.clone(), read(&format!("tests/foreign/{name}.md")))).collect()
}

#[test]
fn a_slip_of_the_finger_is_refused_with_what_was_meant() {
    let stage = Stage::new("slips");
    for (arguments, wanted) in [
        (["--append", "ramdsk.async"], "did you mean ramdisk.async?"),
        (["--append", "semihosting swapiness=100"], "did you mean swappiness=100?"),
        (["--append", "swappiness"], "did you mean swappiness=?"),
        (["--append", "ramdisk=64M,asnyc"], "an unknown option"),
        (["--append", "colour=blue"], "there are: init= ramdisk= "),
        (["--append", "*"], "there are: init= ramdisk= "),
        (["--args", "pagse=5"], "unknown word of demo; did you mean pages=5?"),
        (["--workload", "memlaod"], "did you mean memload?"),
        (["demo", ""], "did you mean --workload demo?"),
        (["--workload", "forkre"], "did you mean forker?"),
        (["--memroy", "64M"], "did you mean --memory?"),
    ] {
        let said = stage.refusal("run", &arguments);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
    assert!(stage.refusal("test", &["hots"]).contains("did you mean host?"));
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    let stage = Stage::new("ranges");
    for (word, wanted) in [
        ("swappiness=9999", "out of range: 0 to 200"),
        ("min_free_kbytes=4294967295", "out of range: 0 to 262144"),
        ("min_free_kbytes=99999999999999999999", "out of range: 0 to 262144"),
        ("swappiness=+1", "not a decimal number"),
        ("swappiness=", "the value is missing"),
        ("maxcpus=0", "out of range: 1 or more"),
        ("maxcpus=4294967296", "out of range: 1 or more"),
        ("ramdisk=1M,delay=x", "not a decimal number"),
        ("mem=12X", "not a size"),
        ("zones=2G,1G", "not two limits in ascending order"),
        ("end=never", "not one of halt/reset/off"),
        ("init=absent", "no program"),
    ] {
        let said = stage.refusal("run", &["--append", word]);
        assert!(said.contains(wanted) && said.contains(word), "{word}: {said}");
    }
    let reserve = ["--memory", "64M", "--append", "min_free_kbytes=40000"];
    assert!(stage.refusal("run", &reserve).contains("more than half of --memory 64M"));
    let said = stage.refusal("run", &["--workload", "hello", "--args", "status=256"]);
    assert!(said.contains("out of range: 0 to 255"), "{said}");
    let said = stage.refusal("run", &["--workload", "memload", "--args", "zipf clk=tsc"]);
    assert!(said.contains("not one of mrs/sys"), "{said}");
}

#[test]
fn a_disk_that_qemu_or_the_kernel_cannot_use_is_refused() {
    let stage = Stage::new("disks");
    let file = |name: &str, bytes: usize| {
        let path = stage.folder.join(name);
        fs::write(&path, vec![0; bytes]).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let absent = stage.folder.join("absent").to_string_lossy().into_owned();
    let folder = stage.folder.to_string_lossy().into_owned();
    for (disk, wanted) in [
        (absent, "no such file"),
        (folder, "neither a file nor a block device"),
        (file("empty", 0), "empty"),
        (file("odd", 1000), "1000 bytes are not whole sectors of 512"),
    ] {
        let said = stage.refusal("run", &["--disk", &disk]);
        assert!(said.contains(wanted) && said.contains(&disk), "{said}");
    }
    let good = file("good", 4096);
    let said = stage.refusal("run", &["--machine", "raspi4b", "--memory", "160M", "--disk", &good]);
    assert!(said.contains("raspi4b has no virtio"), "{said}");
    let five = ["--disk", &good].repeat(5);
    assert!(stage.refusal("run", &five).contains("at most four"));
}

#[test]
fn a_program_that_takes_no_words_is_given_none() {
    let said = Stage::new("none").refusal("run", &["--workload", "hog", "--args", "pages=5"]);
    assert!(said.contains("hog takes no words"), "{said}");
}

/// What the kernel refuses can still be passed to it, and every good word passes.
#[test]
fn good_words_pass_and_so_do_all_with_unchecked() {
    let stage = Stage::new("good");
    let boots = |arguments: &[&str]| {
        let output = stage.run("run", &[&["--no-build"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        said
    };
    let words = "ramdisk=64M,async,delay=100,bw=2000 ramdisk=async ramdisk.fail_read=3 \
                 ramdisk.fail_write=4294967295 zones=1088M,1152M mem=1G min_free_kbytes=0 \
                 swappiness=200 page_cluster=5 anon_rule=second-chance maxcpus=1 test.hooks \
                 end=off uart_clock=250000000 init=hog";
    assert!(boots(&["--append", words]).contains(" init=hog"));
    boots(&["--workload", "memload", "--args", "zipf target=4096 clk=sys full=1"]);
    let said = boots(&["--workload", "hello", "--args", "status=7 any words"]);
    assert!(said.contains("init=hello -- status=7 any words"), "{said}");
    assert!(boots(&["--unchecked", "--append", "colour=blue"]).contains(" colour=blue"));
}

#[test]
fn what_is_piped_holds_no_carriage_return() {
    let output = Stage::new("piped").run("run", &["--no-build"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("columns=0 ") && said.contains("write 46%\n"), "{said}");
    assert!(!said.contains('\r'), "{said:?}");
    assert_eq!(output.status.code(), Some(7), "the kernel's status");
}

/// On a terminal the kernel is passed its width. `script` runs a command on a terminal.
#[test]
fn the_kernel_learns_the_width_of_the_terminal() {
    let stage = Stage::new("width");
    let run = format!("{}/scripts/run --no-build", root().display());
    for (set_up, more, columns) in [
        ("stty cols 100", "", 100),
        ("stty cols 0; export COLUMNS=66", "", 66),
        ("stty cols 0", "", 80),
        // A run that is counted must not depend on the terminal.
        ("stty cols 100", " --icount", 0),
    ] {
        let command = format!("{set_up}; exec {run}{more}");
        let output = stage.command("script").args(["-qec", &command, "/dev/null"]).output();
        // Without `script` this has to be checked by hand.
        let Ok(output) = output else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("columns={columns} ")), "{command}: {said}");
        assert!(said.contains("\rwrite 46%"), "{command}: {said:?}");
    }
}

#[test]
fn help_names_every_word_of_the_kernel_and_of_each_program() {
    let output = Stage::new("help").run("run", &["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let kernel = read("kernel/src/bootargs/words.md");
    assert!(words_of(&kernel).len() > 15);
    for word in words_of(&kernel) {
        assert!(help.contains(&format!("  {word}")), "{word} is not in\n{help}");
    }
    for (name, source) in programs().into_iter().chain(foreign_programs()) {
        let section = help.split_once(&format!("\n  {name} ")).map(|(_, rest)| rest);
        let section = section.unwrap_or_else(|| panic!("{name} is not in\n{help}"));
        let own = section.lines().skip(1).take_while(|line| line.starts_with("      "));
        let own: Vec<_> = own.collect();
        for word in words_of(&source) {
            let found = own.iter().any(|line| line.trim_start().starts_with(word));
            assert!(found, "{name}: {word} is not in {own:?}");
        }
    }
}

/// The words of a program are checked by the table at its head: it names what the program reads,
/// and nothing else.
#[test]
fn the_table_of_a_program_names_what_it_asks_for() {
    for (name, source) in programs() {
        let asked: BTreeSet<_> = ["number(\"", "text(\""]
            .iter()
            .flat_map(|call| source.split(call).skip(1))
            .filter_map(|rest| Some(format!("{}=", rest.split_once('"')?.0)))
            .collect();
        let named: BTreeSet<_> = words_of(&source).into_iter().map(str::to_owned).collect();
        let named: BTreeSet<_> = named.into_iter().filter(|word| word != "...").collect();
        assert_eq!(asked, named, "{name}");
    }
}

/// The same holds for C, whose workloads are words of their own.
#[test]
fn the_table_of_memload_names_what_it_asks_for() {
    let source = read("tests/foreign/memload.c") + &read("tests/foreign/trace.h");
    let quoted = |call: &str, end: &str| -> Vec<String> {
        let rests = source.split(call).skip(1);
        rests.filter_map(|rest| Some(format!("{}{end}", rest.split_once('"')?.0))).collect()
    };
    let asked = [quoted("arg(argc,argv,\"", "="), quoted("tr_eq(wl,\"", "")].concat();
    let asked: BTreeSet<_> = asked.into_iter().collect();
    let [(name, text)] = &foreign_programs()[..] else { panic!("memload alone") };
    let named: BTreeSet<_> = words_of(text).into_iter().map(str::to_owned).collect();
    assert_eq!((name.as_str(), asked.len()), ("memload", 14));
    assert_eq!(asked, named);
}

#[test]
fn the_readme_has_every_option_of_run() {
    let script = read("scripts/run");
    let head = script.lines().take_while(|line| line.starts_with('#'));
    let options = head.filter_map(|line| line.strip_prefix("#   --")?.split_whitespace().next());
    let readme = read("README.md");
    let (_, table) = readme.split_once("## Options of `./scripts/run`").expect("a section");
    for option in options.filter(|option| *option != "help") {
        let found = table.lines().any(|line| {
            line.strip_prefix(&format!("| `--{option}"))
                .is_some_and(|rest| rest.starts_with(['`', ' ']))
        });
        assert!(found, "--{option} is not in the table");
    }
}

/// The text of a row stands above its tests, apart from the list of them.
#[test]
fn a_row_says_what_it_says() {
    let stage = Stage::new("row");
    let said = |output: &[u8]| String::from_utf8_lossy(output).into_owned();
    let output = stage.run("test", &["--list", "BUDY-08"]);
    let text = "BUDY-08: Compound pages: head and tails; freeing frees the whole\n";
    assert_eq!(said(&output.stderr), text);
    assert!(!said(&output.stdout).contains("BUDY"), "{}", said(&output.stdout));
    let planned = said(&stage.run("test", &["--list", "SHRK-01"]).stderr);
    assert!(planned.starts_with("SHRK-01 (planned): `register_shrinker`"), "{planned}");
    assert!(planned.lines().all(|line| line.len() <= 79), "{planned}");
    assert_eq!(said(&stage.run("test", &["--list", "boost"]).stderr), "", "it is no row");
    assert!(stage.refusal("test", &["NODE-01"]).contains("a row that no test names"));
}

/// A name means a row of the specification, a test, or a workload; found without a build.
#[test]
fn a_name_chooses_tests_of_every_kind() {
    let stage = Stage::new("names");
    let list = |name: &str| {
        let output = stage.run("test", &["--list", name]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let row = list("BUDY-08");
    assert!(row.contains("host mm-reclaim a_compound_page_is_freed_as_a_whole\n"), "{row}");
    assert!(row.contains("suite memory::tasks_churn_blocks_of_all_orders\n"), "{row}");
    assert_eq!(list("isolate_against_free"), "model isolate_against_free\n");
    assert_eq!(
        list("a chain of frames"),
        "host kernel:lib a_chain_of_frames_is_followed_to_its_end\n"
    );
    assert_eq!(list("sleeping_with_preemption_off"), "suite fatal::sleeping_with_preemption_off\n");
    assert_eq!(
        list("an inversion names both locks").lines().next(),
        Some("debug-suite locks::an_inversion_names_both_locks")
    );
    assert_eq!(list("tables_begin_empty"), "suite tables_begin_empty\n");
    let workload = list("mlocker");
    assert!(workload.contains("workload mlock under pressure\n"), "{workload}");
    assert!(list("RMAP-05").contains("workload mlock under pressure\n"));
    assert!(!stage.folder.join("built").exists(), "something was built");
    assert!(stage.refusal("test", &["no_such_test_anywhere"]).contains("no test, row or workload"));
    assert!(stage.refusal("test", &["host", "RMAP-05"]).contains("not together"));
}
