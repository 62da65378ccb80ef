//! The unit file means what it says to the systemd of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/covenant.service")
}

/// Directives without which a compromised node could do more than a node needs.
const HARDENING: &[&str] = &[
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "MemoryDenyWriteExecute=yes",
    "SystemCallFilter=@system-service",
];

#[test]
fn the_unit_waits_for_word_is_watched_and_gives_up_what_a_node_does_not_need() {
    let text = std::fs::read_to_string(unit()).expect("the unit is there");
    let has = |line: &str| text.lines().any(|found| found.trim() == line);
    let wanted = ["Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "Restart=always", "KillSignal=SIGTERM"];
    let missing: Vec<&str> = wanted.iter().chain(HARDENING).copied().filter(|line| !has(line)).collect();
    assert!(missing.is_empty(), "the unit lacks {missing:?}");
}

#[test]
fn systemd_accepts_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not on this machine; install systemd to check the unit");
        return;
    }
    // `verify` looks for the program, which is not installed where this is tested: put one that is in its place.
    let folder = tempfile::tempdir().expect("a folder for the test");
    let copy = folder.path().join("covenant.service");
    let text = std::fs::read_to_string(unit()).expect("the unit is there");
    std::fs::write(&copy, text.replace("/usr/bin/covenant", "/bin/true")).expect("the folder can be written");
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&copy).output();
    let output = output.expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine may be faulty; ours may not.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("covenant.service")).collect();
    assert!(output.status.success() && ours.is_empty(), "{}: {said}", output.status);
}
