//! What it was measured on.

use std::fs;
use std::process::Command;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    /// The kind of file system that scratch folders lie on.
    pub(crate) scratch: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("cargo run --release -p {} -- {}", env!("CARGO_PKG_NAME"), arguments.join(" "));
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown memory".to_owned()),
            kernel: kernel.trim().to_owned(),
            commit: commit(),
            command: command.trim_end_matches([' ', '-']).to_owned(),
            scratch: file_system(&std::env::temp_dir()),
        }
    }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit of the working folder, and whether something was changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => hash,
        _ => format!("{hash} and changes"),
    }
}

/// The type of the mount with the longest path that `folder` lies below.
fn file_system(folder: &std::path::Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = |line: &str| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let below = mounts.lines().filter_map(fields).filter(|(mount, _)| folder.starts_with(mount));
    below.max_by_key(|(mount, _)| mount.len()).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}
