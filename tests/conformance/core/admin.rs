//! Administration and reports: cases 26 to 31, 74 and 75.

use super::*;
use crate::ChildState;

const NO_SUCH_CALL: &str =
    "refused: a dynamic supervisor has no child to do that with: its instances are started and terminated";

#[test]
fn child_adm() {
    check_steps(
        OneForOne,
        "a",
        &[
            ("add a", "refused: a child of that id runs already"),
            ("restart a", "refused: the child is running"),
            ("delete a", "refused: the child is running"),
            ("terminate a", "stop a, ended a, ok"),
            ("terminate a", "ok"),
            ("add a", "refused: a child of that id is there, stopped; restart or delete it"),
            ("restart a", "start a, ok, started"),
            ("terminate a", "stop a, ended a, ok"),
            ("delete a", "forget a, ok"),
            ("terminate a", "refused: no child of that id"),
            ("restart a", "refused: no child of that id"),
            ("delete a", "refused: no child of that id"),
            ("shutdown", "exit shutdown"),
            ("add b", "refused: the supervisor is stopping"),
        ],
    );
}

#[test]
fn child_adm_simple() {
    check_steps(
        Dynamic,
        "t",
        &[
            ("instance a", "start a, ok, started"),
            ("terminate t", "refused: no child of that id"),
            ("terminate a", "stop a, forget a, ok"),
            ("terminate a", "ok"),
            ("restart a", NO_SUCH_CALL),
            ("delete a", NO_SUCH_CALL),
            ("add b", NO_SUCH_CALL),
        ],
    );
}

#[test]
fn extra_return() {
    check_steps(
        OneForOne,
        "",
        &[
            ("add a:tells", "start a, ok, started, extra"),
            ("crash a", "start a"),
            ("terminate a", "stop a, ended a, ok"),
            ("restart a", "start a, ok, started, extra"),
        ],
    );
}

#[test]
fn external_start_no_progress_log() {
    // Only a boot says that everything has started. A child that is started by hand, or comes back, is not said again.
    let mut bench = booted(OneForOne, "a");
    let done = bench.run("add b; crash b; terminate b; restart b");
    assert_eq!(done, "start b, ok, started; start b; stop b, ended b, ok; start b, ok, started");
}

#[test]
fn which_children() {
    let mut bench = booted(OneForOne, "");
    assert_eq!(ids(&bench), [""; 0]);
    bench.run("add a");
    assert_eq!(bench.state("a"), Some(ChildState::Running));
    bench.run("terminate a");
    assert_eq!((ids(&bench), bench.state("a")), (vec!["a".to_owned()], Some(ChildState::Undefined)));
    bench.run("delete a");
    assert_eq!((ids(&bench), bench.state("a")), (vec![], None));
}

#[test]
fn which_children_simple_one_for_one() {
    let mut bench = booted(Dynamic, "t");
    assert_eq!((ids(&bench), bench.state("t")), (vec![], None), "the template is no child");
    bench.run("instance a");
    assert_eq!(bench.state("a"), Some(ChildState::Running));
    bench.run("terminate a");
    assert_eq!((ids(&bench), bench.state("a")), (vec![], None));
}

#[test]
fn format_log_2() {
    let mut bench = booted(Dynamic, "t");
    bench.run("instance a:lasting; instance b:lasting; instance c; shutdown; crash a; crash b");
    assert_eq!(bench.reports, ["ShutdownError t panic: boom x2"], "equal ends are told of once");
    let report = covenant_supervision::Report {
        context: crate::ReportContext::ShutdownError,
        reason: covenant_types::ExitReason::Killed,
        offender: script::id("t"),
        count: 2,
    };
    assert_eq!(report.to_string(), "shutdown_error: t (killed), 2 of them");
}

#[test]
fn already_started_outside_supervisor() {
    let mut bench = booted(OneForOne, "");
    assert_eq!(bench.run("add a:taken"), "start a taken, forget a, refused: it runs already as other");
    assert_eq!(ids(&bench), [""; 0]);
}
