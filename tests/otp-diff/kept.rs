//! Cases that are kept: rules where a mistake is easy, and whatever the random check finds. Each on both sides.

use crate::case::Case;
use crate::generate::{self, Dice};
use crate::otp::Otp;
use crate::{disagreement, ours};

/// A supervisor of workers: its keys, and for each child its id and more keys.
fn workers(keys: &str, children: &[&str]) -> String {
    let child = |child: &&str| {
        let (id, more) = child.split_once(' ').unwrap_or((child, ""));
        format!("[[child]]\nid = \"{id}\"\nbehaviour = \"x\"\n{}\n", more.replace("; ", "\n"))
    };
    format!("period = \"1h\"\n{}\n{}", keys.replace("; ", "\n"), children.iter().map(child).collect::<String>())
}

/// Both sides agree, and after the last step this is how it stands.
#[track_caller]
fn check(root: &str, below: &str, script: &str, last: &str) {
    let case = Case::read(&[("root", root), ("below", below)], script);
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
    let script = r#"{"at": 0, "exit": "sub/a", "reason": "panic"}"#;
    check(
        root,
        &workers("intensity = 0", &["a"]),
        script,
        "done | running | /sub=undefined:1 /sub/a=gone:1 | started | stopped",
    );
}

#[test]
fn a_group_whose_second_start_fails_begins_again_with_all_of_them() {
    let root = workers("strategy = \"one_for_all\"; intensity = 3", &["a", "b", "c"]);
    let script = r#"{"at": 0, "start_fails": "b", "times": 2}
                    {"at": 1, "exit": "c", "reason": "panic"}"#;
    check(
        &root,
        "",
        script,
        "done | running | /a=running:4 /b=running:2 /c=running:2 | started /a /a /a /b /c | stopped /b /a /a /a",
    );
}

#[test]
fn under_rest_for_one_a_failed_start_is_tried_again_without_those_before_it() {
    let root = workers("strategy = \"rest_for_one\"; intensity = 3", &["a", "b", "c"]);
    let script = r#"{"at": 0, "start_fails": "b", "times": 2}
                    {"at": 1, "exit": "a", "reason": "panic"}"#;
    check(
        &root,
        "",
        script,
        "done | running | /a=running:2 /b=running:2 /c=running:2 | started /a /b /c | stopped /c /b",
    );
}

#[test]
fn a_temporary_bystander_is_not_started_again() {
    let root = workers("strategy = \"one_for_all\"", &["a restart = \"temporary\"", "b", "c restart = \"transient\""]);
    let script = r#"{"at": 0, "exit": "b", "reason": "normal"}"#;
    check(&root, "", script, "done | running | /a=gone:1 /b=running:2 /c=running:2 | started /b /c | stopped /c /a");
}

#[test]
fn a_group_that_ends_together_spends_one_restart() {
    let root = workers("strategy = \"one_for_all\"; intensity = 1", &["a", "b", "c"]);
    let script = r#"{"at": 0, "exit": "b", "reason": "killed"}
                    {"at": 0, "exit": "a", "reason": "panic"}
                    {"at": 0, "exit": "c", "reason": "normal"}"#;
    check(
        &root,
        "",
        script,
        "together, 0 ignored | running | /a=running:2 /b=running:2 /c=running:2 | started /a /b /c | stopped",
    );
}

#[test]
fn siblings_that_end_together_are_dealt_with_in_the_order_they_ended() {
    let root = workers("strategy = \"rest_for_one\"; intensity = 9", &["a", "b", "c"]);
    let script = r#"{"at": 0, "exit": "c", "reason": "killed"}
                    {"at": 0, "exit": "a", "reason": "killed"}
                    {"at": 0, "exit": "b", "reason": "killed"}"#;
    check(
        &root,
        "",
        script,
        "together, 0 ignored | running | /a=running:2 /b=running:2 /c=running:3 | started /c /a /b /c | stopped /c",
    );
}

#[test]
fn a_supervisor_with_all_significant_ends_with_the_last_of_them() {
    let significant = "restart = \"transient\"; significant = true";
    let (a, b) = (format!("a {significant}"), format!("b {significant}"));
    let root = workers("auto_shutdown = \"all_significant\"; intensity = 9", &[&a, &b, "c"]);
    let script = r#"{"at": 0, "exit": "a", "reason": "normal"}
                    {"at": 1, "exit": "b", "reason": "panic"}
                    {"at": 2, "exit": "b", "reason": {"shutdown": "done"}}"#;
    check(&root, "", script, "done | exited shutdown | /a=gone:1 /b=gone:2 /c=gone:1 | started | stopped /c");
}

#[test]
fn instances_are_lost_with_their_supervisor_and_it_comes_back_empty() {
    let root = "period = \"1h\"\n[[child]]\nid = \"pool\"\ntree = \"below\"\n";
    let script = r#"{"at": 0, "call": "start_child", "path": "pool/one"}
                    {"at": 1, "call": "start_child", "path": "pool/two"}
                    {"at": 2, "exit": "pool/one", "reason": "panic"}
                    {"at": 3, "exit": "pool/two", "reason": "panic"}"#;
    let below = workers("strategy = \"dynamic\"; intensity = 1", &["template"]);
    check(
        root,
        &below,
        script,
        "done | running | /pool=running:2 /pool/one=gone:2 /pool/two=gone:1 | started /pool | stopped /pool/one",
    );
}

#[test]
fn a_call_behind_an_end_comes_before_the_next_try_of_a_start_that_failed() {
    let root = "period = \"1h\"\nstrategy = \"one_for_all\"\nintensity = 5\n\
                [[child]]\nid = \"a\"\ntree = \"below\"\nrestart = \"temporary\"\n\
                [[child]]\nid = \"b\"\nbehaviour = \"x\"\n";
    let script = r#"{"at": 0, "start_fails": "b"}
                    {"at": 1, "exit": "b", "reason": "killed"}
                    {"at": 1, "call": "start_child", "path": "a"}"#;
    let last = "together, 0 ignored, ok | running | /a=running:3 /b=running:2 | started /a /b /a | stopped /a";
    check(root, &workers("", &[]), script, last);
}
