//! A short torture of three real processes: the ledger keeps its word, and a history that lies is called so.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};

fn torture(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ledger-torture")).args(args).output().unwrap()
}

#[test]
fn three_voters_under_torture_keep_their_word() {
    let program = Path::new(env!("CARGO_BIN_EXE_ledger-torture")).with_file_name("covenant");
    assert!(program.exists(), "the tests of the workspace build {}; else `cargo build` does", program.display());
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().to_str().unwrap();
    let args = ["--seconds", "20", "--seed", "11", "--clients", "16", "--json", "--keep", keep];
    let output = torture(&[&args[..], &["--program", program.to_str().unwrap()]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert!(!report["troubles"].as_object().unwrap().is_empty(), "{report}");
    assert!(report["counts"]["acknowledged"].as_u64().unwrap() > 20, "{report}");
    assert!(report["counts"]["reads"].as_u64().unwrap() > 5, "{report}");
}

#[test]
fn a_history_that_was_kept_is_looked_at_again_and_one_that_lies_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let lines = |amount: &str| {
        format!(
            "{{\"history\":{{\"version\":1,\"opening\":{{}}}}}}\n\
             {{\"attempt\":{{\"client\":1,\"invoked\":0,\"returned\":5,\"id\":\"7\",\"from\":\"a\",\"to\":\"b\",\"amount\":\"3\",\
             \"outcome\":{{\"booked\":{{\"number\":0,\"fresh\":true}}}}}}}}\n\
             {{\"booked\":{{\"number\":0,\"id\":\"7\",\"from\":\"a\",\"to\":\"b\",\"amount\":\"{amount}\"}}}}\n"
        )
    };
    for (amount, code, said) in [("3", 0, "0 lost"), ("4", 1, "altered: 00000000000000000000000000000007")] {
        std::fs::write(&path, lines(amount)).unwrap();
        let output = torture(&["--recheck", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
}
