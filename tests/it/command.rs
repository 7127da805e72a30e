//! Runs the `weir` binary as a person at a shell does.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

/// One invocation of `weir`.
pub(crate) struct Weir(Command);

/// What it did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory of files that is gone at the end of its test.
pub(crate) struct Folder(TempDir);

impl Weir {
    /// `weir` with these arguments, divided at spaces.
    pub(crate) fn new(arguments: &str) -> Weir {
        Weir(Command::new(env!("CARGO_BIN_EXE_weir"))).args(arguments)
    }

    /// Adds arguments, divided at spaces.
    pub(crate) fn args(mut self, arguments: &str) -> Weir {
        self.0.args(arguments.split_whitespace());
        self
    }

    /// Adds one argument that may hold spaces.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Weir {
        self.0.arg(argument);
        self
    }

    /// Names the configuration.
    pub(crate) fn config(self, config: &Path) -> Weir {
        self.arg("--config").arg(config)
    }

    /// Sets the working directory.
    pub(crate) fn within(mut self, directory: &Path) -> Weir {
        self.0.current_dir(directory);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Ran {
        let output = self.0.output().expect("the binary runs");
        Ran {
            code: output.status.code().expect("the process ended by itself"),
            stdout: String::from_utf8(output.stdout).expect("standard output is text"),
            stderr: String::from_utf8(output.stderr).expect("standard error is text"),
        }
    }
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self:#?}"))
    }
}

impl Folder {
    /// A folder with these files.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a temporary directory"));
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect("a file in it");
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A path below the package.
pub(crate) fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
