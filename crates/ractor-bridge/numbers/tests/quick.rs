//! The whole table, with next to nothing in it: that everything can be measured, over both carriers.

use std::process::Command;

#[test]
fn everything_is_measured_over_both_carriers() {
    let output = Command::new(env!("CARGO_BIN_EXE_ractor-cluster-numbers")).arg("--quick").output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{said}");
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains("over QUIC: "));
    assert_eq!(rows.count(), 15, "{table}");
    assert!(!table.contains("NaN"), "{table}");
}
