//! Starting: cases 1 to 12.

use super::*;
use crate::{ChildState, Supervisor};
use covenant_types::StartAttempts;

#[test]
fn sup_start_normal() {
    assert_eq!(Bench::new(OneForOne, "").run("boot; shutdown"), "started; exit shutdown");
}

#[test]
fn sup_start_ignore_init() {
    // A supervisor that has nothing to do is, to the one above, a child that was ignored. It is not heard to exit.
    let mut bench = Bench::new(OneForOne, "a:sup:ignored b");
    assert_eq!(bench.run("boot; pass 100ms"), "start a ignored, ended a, start b, started; ");
    assert_eq!(bench.state("a"), Some(ChildState::Undefined));
}

#[test]
fn sup_start_ignore_child() {
    let bench = booted(OneForOne, "a:ignored b");
    assert_eq!((bench.state("a"), counts(&bench)), (Some(ChildState::Undefined), [2, 1, 0, 2]));
    assert_eq!(ids(&bench), ["a", "b"]);
}

#[test]
fn sup_start_ignore_temporary_child() {
    let bench = booted(OneForOne, "a:ignored:temporary b");
    assert_eq!((ids(&bench), counts(&bench)), (vec!["b".to_owned()], [1, 1, 0, 1]));
}

#[test]
fn sup_start_ignore_temporary_child_start_child() {
    let mut bench = booted(OneForOne, "");
    assert_eq!(
        bench.run("add a:ignored:temporary; add b"),
        "start a ignored, forget a, ok, ignored; start b, ok, started"
    );
    assert_eq!((ids(&bench), counts(&bench)), (vec!["b".to_owned()], [1, 1, 0, 1]));
}

#[test]
fn sup_start_ignore_temporary_child_start_child_simple() {
    let mut bench = booted(Dynamic, "t:temporary");
    let script = "instance a:ignored; instance b";
    assert_eq!(bench.run(script), "start a ignored, forget a, ok, ignored; start b, ok, started");
    assert_eq!((ids(&bench), counts(&bench)), (vec!["b".to_owned()], [1, 1, 0, 1]));
}

#[test]
fn sup_start_ignore_permanent_child_start_child_simple() {
    let mut bench = booted(Dynamic, "t");
    let script = "instance a:ignored; instance b";
    assert_eq!(bench.run(script), "start a ignored, forget a, ok, ignored; start b, ok, started");
    assert_eq!(counts(&bench), [1, 1, 0, 1]);
    assert_eq!(bench.run("shutdown"), "stop b, forget b, exit shutdown");
}

#[test]
fn sup_start_error_return() {
    let (mut spec, _) = script::supervisor(OneForOne, "a");
    spec.period = std::time::Duration::ZERO;
    let refused = Supervisor::new(spec, StartAttempts::default(), 1).unwrap_err();
    assert_eq!(refused.to_string(), "period must be longer than zero");
}

#[test]
fn sup_start_fail() {
    let expected = "start a, start b fails, stop a, start failed: shutdown: failed to start child b: error: no; ";
    assert_eq!(Bench::new(OneForOne, "a b:bad c").run("boot; pass 100ms"), expected, "and no exit follows");
}

#[test]
fn sup_start_restart_child_returns_error() {
    let mut bench = booted(OneForOne, "a");
    assert_eq!(bench.run("terminate a"), "stop a, ended a, ok");
    let refused = "; start a fails, ended a, refused: the child did not start: error: no";
    assert_eq!(bench.run("now a:bad; restart a"), refused);
    assert_eq!(bench.state("a"), Some(ChildState::Undefined));
}

#[test]
fn sup_start_child_returns_error() {
    let mut bench = booted(OneForOne, "");
    let refused = "start a fails, forget a, refused: the child did not start: error: no";
    assert_eq!(bench.run("add a:bad"), refused);
    assert_eq!(ids(&bench), [""; 0]);
}

#[test]
fn sup_start_child_returns_error_simple() {
    let mut bench = booted(Dynamic, "t");
    let refused = "start a fails, forget a, refused: the child did not start: error: no";
    assert_eq!(bench.run("instance a:bad"), refused);
    assert_eq!(counts(&bench), [1, 0, 0, 0]);
}
