//! The example that the guide quotes tells its story to the end.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_of_virtual_time_tells_its_story() {
    // Where cargo puts examples: beside the folder of this test.
    let own = std::env::current_exe().unwrap();
    let example = own.parent().and_then(Path::parent).unwrap().join("examples/virtual_time");
    let output = Command::new(example).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let story = "59 minutes and 59 seconds: nothing\nthen: a bill is overdue\npaid: two more hours of nothing\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), story);
}
