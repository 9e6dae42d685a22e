//! A boot of the kernel by `scripts/run`, and what it said.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};

use crate::folder::{output_of, str_of, text};

/// What is to be booted.
#[derive(Debug)]
pub struct Machine {
    arguments: Vec<String>,
    drives: Vec<String>,
}

impl Machine {
    /// A machine that runs a program: 64 MiB of RAM, no swap, one processor.
    #[must_use]
    pub fn new(program: &str, arguments: &str) -> Self {
        let machine = Self { arguments: vec!["--no-build".to_owned()], drives: Vec::new() };
        let machine = machine.option("--workload", program).option("--args", arguments);
        machine.option("--memory", "64M").option("--swap", "0").option("--timeout", "120")
    }

    /// With an option of `scripts/run` and its value; the last of several counts.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// With an option that has no value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// With the image of a disk.
    #[must_use]
    pub fn disk(self, image: &Path) -> Self {
        self.option("--disk", str_of(image))
    }

    /// With a disk that QEMU's option `-drive` describes; these come behind the images.
    #[must_use]
    pub fn drive(mut self, options: String) -> Self {
        self.drives.push(options);
        self
    }

    fn command(&self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(root.join("scripts/run"));
        command.args(&self.arguments).env("BUILD_FOLDER", build_folder());
        command.env("BOOT_DRIVES", self.drives.join("\n")).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self) -> Said {
        let output = output_of(&mut self.command());
        let text = text(&output).replace('\r', "\n");
        Said { status: output.status.code().unwrap_or(-1), text }
    }

    /// Starts it in a process group of its own, with what it says going to a file.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(&self, said: &Path) -> Child {
        use std::os::unix::process::CommandExt;
        let file = fs::File::create(said).expect("a file for what the machine says");
        let mut command = self.command();
        command.stdout(file).stderr(Stdio::null()).process_group(0);
        command.spawn().expect("scripts/run is there")
    }
}

/// The folder that cargo builds into: four above the test that runs.
fn build_folder() -> PathBuf {
    let test = env::current_exe().expect("a test has a file");
    let folder = test.ancestors().nth(4).expect("a test is below a folder of cargo's");
    let image = folder.join("aarch64-unknown-none-softfloat/release/kernel.img");
    assert!(image.is_file(), "{} is missing: run scripts/build", image.display());
    folder.to_owned()
}

/// What a machine has said, and the status with which it ended.
#[derive(Debug)]
pub struct Said {
    /// The status of the run.
    pub status: i32,
    /// All that was said.
    pub text: String,
}

impl Said {
    /// Whether it contains some words.
    #[must_use]
    pub fn has(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// The number behind a word at the start of a line.
    #[must_use]
    pub fn counter(&self, word: &str) -> u64 {
        let lines = self.text.lines().filter_map(|line| line.trim_start().strip_prefix(word));
        let number =
            lines.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).next_back();
        number.unwrap_or(0)
    }

    /// The run ended with a status, and no page is lost.
    ///
    /// # Panics
    /// If not.
    pub fn must_end_with(&self, status: i32, about: &str) {
        assert_eq!(self.status, status, "{about}\n{}", self.text);
        assert!(self.has("books are right"), "{about}\n{}", self.text);
    }

    /// The same with status 0, and everything on the disk.
    ///
    /// # Panics
    /// If not.
    pub fn must_be_well(&self, about: &str) {
        self.must_end_with(0, about);
        assert!(self.has("ext2: unmounted"), "{about}\n{}", self.text);
    }
}

/// Runs a test for each of some values, two at a time; a panic of one is the test's.
pub fn for_each<T: Send>(values: impl Iterator<Item = T> + Send, test: impl Fn(T) + Sync) {
    let values = std::sync::Mutex::new(values);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(value) = { values.lock().expect("no panic here").next() } {
                    test(value);
                }
            });
        }
    });
}
