//! Erlang's side: one process that is fed with cases.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::case::Case;

/// A running `otp_diff.erl`, and the folder it was compiled into.
pub(crate) struct Otp {
    process: Child,
    cases: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Otp {
    /// Compiles and starts it. None, and a loud word, where there is no Erlang.
    pub(crate) fn start() -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("otp-diff/otp_diff.erl");
        let folder = tempfile::tempdir().expect("a folder to compile into");
        let compiled = Command::new("erlc").arg("-o").arg(folder.path()).arg(&source).output();
        let compiled = match compiled {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Past the harness, which shows the output of failed tests alone.
                let _nobody_listens = writeln!(
                    std::io::stderr(),
                    "SKIPPED: the check against OTP needs Erlang, and `erlc` is not there: apt-get install erlang-base"
                );
                return None;
            }
            compiled => compiled.expect("erlc runs"),
        };
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        let mut process = Command::new("erl")
            .args(["-noshell", "-kernel", "logger_level", "none", "-s", "otp_diff", "main", "-pa"])
            .arg(folder.path())
            .current_dir(folder.path()) // where it would write its crash dump
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("erl runs where erlc does");
        let cases = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        Some(Self { process, cases, answers, _folder: folder })
    }

    /// One line for the boot and one for each step.
    pub(crate) fn play(&mut self, case: &Case) -> Vec<String> {
        let cases = self.cases.as_mut().expect("open until it is dropped");
        let term = case.term();
        writeln!(cases, "{term}").and_then(|()| cases.flush()).expect("erl reads");
        let mut told = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line).expect("erl answers");
            assert!(read > 0, "erl ended over {term}");
            match line.trim_end() {
                "." => return told,
                text => told.push(text.to_owned()),
            }
        }
    }
}

impl Drop for Otp {
    fn drop(&mut self) {
        drop(self.cases.take()); // at the end of its input it ends
        let _status = self.process.wait();
    }
}
