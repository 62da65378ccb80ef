use super::*;

#[test]
fn reports_say_who_and_why() {
    check_reports(OneForOne, "0/5s a", "crash a", "ChildTerminated a panic: boom, max intensity");
    let report = crate::Report {
        count: 1,
        context: crate::ReportContext::ChildTerminated,
        reason: covenant_types::ExitReason::Killed,
        offender: super::script::id("a"),
    };
    assert_eq!(report.to_string(), "child_terminated: a (killed)");
}

#[test]
fn an_orderly_end_is_reported_only_of_a_permanent_child() {
    check_reports(OneForOne, "a", "end a", "ChildTerminated a normal");
    check_reports(OneForOne, "a:transient", "end a", "");
    check_reports(OneForOne, "a:temporary", "end a", "");
    check_reports(OneForOne, "a:temporary", "crash a", "ChildTerminated a panic: boom");
}

#[test]
fn each_failed_try_is_reported() {
    let expected = "ChildTerminated a panic: boom, StartError a error: no, StartError a error: no";
    check_reports(OneForOne, "a", "spoil a 2; crash a; pass 0s", expected);
}

#[test]
fn a_failed_boot_is_reported_once() {
    let mut bench = Bench::new(OneForOne, "a b:bad");
    bench.run("boot");
    assert_eq!(bench.reports, ["StartError b error: no"]);
}

#[test]
fn who_starts_a_child_by_hand_is_told_of_a_failure_and_nobody_else() {
    check_reports(OneForOne, "a", "terminate a; spoil a 1; restart a; add b:bad", "");
}

#[test]
fn a_stop_is_reported_when_it_did_not_go_as_asked() {
    let stop = |children: &str, end: &str| {
        let mut bench = Bench::new(OneForOne, children);
        bench.run(&format!("boot; shutdown; {end}"));
        bench.reports.join(", ")
    };
    assert_eq!(stop("a:lasting", "gone a"), "");
    assert_eq!(stop("a:lasting", "end a"), "ShutdownError a normal");
    assert_eq!(stop("a:lasting", "gone a why"), "ShutdownError a shutdown: why");
    assert_eq!(stop("a:lasting", "crash a"), "ShutdownError a panic: boom");
    assert_eq!(stop("a:lasting", "pass 5s"), "ShutdownError a killed");
    for restart in ["transient", "temporary"] {
        assert_eq!(stop(&format!("a:{restart}:lasting"), "end a"), "");
        assert_eq!(stop(&format!("a:{restart}:lasting"), "gone a why"), "");
        assert_eq!(stop(&format!("a:{restart}:lasting"), "die a"), "ShutdownError a killed");
    }
}

#[test]
fn brutal_kill_is_no_error() {
    check_reports(OneForOne, "a:brutal", "shutdown", "");
    check_reports(OneForOne, "a:brutal:immortal", "shutdown; crash a", "ShutdownError a panic: boom");
    check_reports(OneForOne, "a:brutal:immortal", "shutdown; gone a", "ShutdownError a shutdown");
    check_reports(OneForOne, "a:brutal:transient:immortal", "shutdown; gone a", "");
}

#[test]
fn a_child_that_crashed_before_it_was_asked_to_stop_is_reported_too() {
    let script = "shutdown; crash a; gone b";
    check_reports(OneForOne, "a b:lasting", script, "ShutdownError a panic: boom");
    let script = "crash a; crash b; gone c";
    let expected = "ChildTerminated a panic: boom, ShutdownError b panic: boom";
    check_reports(OneForAll, "a b c:lasting", script, expected);
}
