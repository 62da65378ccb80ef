//! The `covenant` binary.
fn main() {}
