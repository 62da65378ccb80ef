//! The verifier in Python beside ours, for tests of this crate and of those whose logs it holds.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use covenant_tlog::MemoryFiles;

use super::fixture::Authors;

/// The verifier in Python, kept running.
pub(crate) struct Python {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn new(authors: &Authors, earlier: &[&Path]) -> Self {
        let mut command = Command::new("python3");
        command.arg("-B").arg(python_verifier()).args(["--log", &authors.policy.log().to_string()]);
        for key in authors.policy.witnesses() {
            command.args(["--witness", &key.to_string()]);
        }
        command.args(["--quorum", &authors.witnesses.len().to_string()]);
        for file in earlier {
            command.arg("--earlier").arg(file);
        }
        let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    pub(crate) fn answer(&mut self, folder: &Path) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", folder.display()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

pub(crate) fn write(folder: &Path, name: &str, bytes: Option<&Vec<u8>>) {
    let path = folder.join(name);
    match bytes {
        Some(bytes) => {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        None => std::fs::remove_file(path).unwrap(),
    }
}

pub(crate) fn write_all(folder: &Path, files: &MemoryFiles) {
    files.iter().for_each(|(name, bytes)| write(folder, name, Some(bytes)));
}

/// The verifier in Python, written from the specifications.
fn python_verifier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tlog/verify.py")
}
