//! Cases that are kept: the rules where a mistake is easy, and whatever the random check has found.

use crate::case::Case;
use crate::generate::{self, Dice};
use crate::otp::Otp;
use crate::{disagreement, ours};

/// Both sides agree, and after the last step this is how it stands.
#[track_caller]
fn check(files: &[(&str, &str)], script: &str, last: &str) {
    let case = Case::read(files, script);
    assert_eq!(ours::play(&case).last().map(String::as_str), Some(last));
    if let Some(mut otp) = Otp::start() {
        assert_eq!(disagreement(&case, &mut otp), None);
    }
}

#[test]
fn a_case_that_is_written_down_is_the_case() {
    for number in 0..200 {
        let case = generate::case(&mut Dice::new(9, number));
        let files = case.files();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let again = Case::read(&files, &case.script());
        assert_eq!(again.term(), case.term(), "{case}");
    }
}

#[test]
fn a_transient_supervisor_that_gives_up_is_not_restarted() {
    let root = "period = \"1h\"\n[[child]]\nid = \"sub\"\ntree = \"below\"\nrestart = \"transient\"\n";
    let below = "intensity = 0\nperiod = \"1h\"\n[[child]]\nid = \"a\"\nbehaviour = \"x\"\n";
    let script = "{\"at\": 0, \"exit\": \"sub/a\", \"reason\": \"panic\"}";
    check(&[("root", root), ("below", below)], script, "done | running | /sub=undefined:1 /sub/a=gone:1");
}
