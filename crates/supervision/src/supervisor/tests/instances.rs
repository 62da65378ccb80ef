use super::*;

#[test]
fn a_dynamic_supervisor_starts_nothing_by_itself() {
    let mut bench = Bench::new(Dynamic, "t");
    assert_eq!(bench.run("boot; instance x; instance y"), "started; start x, ok, started; start y, ok, started");
    assert_eq!(bench.run("shutdown"), "stop x, stop y, forget x, forget y, exit shutdown");
}

#[test]
fn an_instance_has_the_policy_of_its_template() {
    check(Dynamic, "t", "instance x; crash x; end x", "start x, ok, started; start x; start x");
    check(Dynamic, "t:transient", "instance x; crash x; end x", "start x, ok, started; start x; forget x");
    check(Dynamic, "t:temporary", "instance x; crash x", "start x, ok, started; forget x");
    check(
        Dynamic,
        "1/5s t",
        "instance x; instance y; crash x; crash y",
        "start x, ok, started; start y, ok, started; start x; stop x, forget y, forget x, exit shutdown",
    );
}

#[test]
fn an_instance_that_is_ignored_is_not_kept() {
    check(
        Dynamic,
        "t",
        "instance x:ignored; instance x",
        "start x ignored, forget x, ok, ignored; start x, ok, started",
    );
    check(Dynamic, "t", "instance x; now x:ignored; crash x", "start x, ok, started; ; start x ignored, forget x");
}

#[test]
fn an_instance_that_does_not_start_is_told_of_and_not_kept() {
    let refused = "start x fails, forget x, refused: the child did not start: error: no";
    check(Dynamic, "t", "instance x:bad; instance x", &format!("{refused}; start x, ok, started"));
}

#[test]
fn admin_calls_on_instances_have_otps_results() {
    let cases = [
        ("instance x", "start x, ok, started"),
        ("instance x", "refused: a child of that id runs already"),
        ("instance t", "refused: a child of that id runs already"),
        (
            "restart x",
            "refused: a dynamic supervisor has no child to do that with: its instances are started and terminated",
        ),
        (
            "delete x",
            "refused: a dynamic supervisor has no child to do that with: its instances are started and terminated",
        ),
        (
            "add y",
            "refused: a dynamic supervisor has no child to do that with: its instances are started and terminated",
        ),
        ("terminate t", "refused: no child of that id"),
        ("terminate x", "stop x, forget x, ok"),
        ("terminate x", "ok"),
        ("terminate never-was", "ok"),
    ];
    let (script, expected): (Vec<&str>, Vec<&str>) = cases.into_iter().unzip();
    check(Dynamic, "t", &script.join("; "), &expected.join("; "));
    let only = "refused: the spec is wrong: only a dynamic supervisor has instances";
    check(OneForOne, "a", "instance x", only);
}

#[test]
fn a_crash_loop_of_one_instance_does_not_hold_up_the_others() {
    let script = "instance x; instance y; spoil x 99; crash x; instance z; terminate x; pass 9s; crash y";
    let expected =
        "start x, ok, started; start y, ok, started; ; start x fails; start z, ok, started; forget x, ok; ; start y";
    check(Dynamic, "t", script, expected);
}

#[test]
fn instances_are_stopped_together_and_share_one_deadline() {
    let two = "instance x:lasting; instance y:lasting; instance z";
    let started = "start x, ok, started; start y, ok, started; start z, ok, started";
    let script = format!("{two}; shutdown; pass 1999ms; pass 1ms");
    let expected =
        format!("{started}; stop x, stop y, stop z, forget z; ; kill x, kill y, forget x, forget y, exit shutdown");
    check(Dynamic, "t:2s", &script, &expected);
    check_reports(Dynamic, "t:2s", &script, "ShutdownError t killed x2");
}

#[test]
fn brutal_kill_kills_instances_at_once() {
    let script = "instance x; instance y:lasting; shutdown";
    let expected = "start x, ok, started; start y, ok, started; kill x, kill y, forget x, forget y, exit shutdown";
    check(Dynamic, "t:brutal", script, expected);
    check_reports(Dynamic, "t:brutal", script, "");
}

#[test]
fn an_instance_that_does_not_end_when_killed_holds_up_nobody_for_ever() {
    let script = "instance x:immortal; instance y; shutdown; pass 5s; pass 1s";
    let expected = "start x, ok, started; start y, ok, started; stop x, stop y, forget y; kill x; exit shutdown";
    check(Dynamic, "t", script, expected);
    // One that was killed before has no more than its own grace.
    let script = "instance x:immortal; kill x; shutdown; pass 1s";
    check(Dynamic, "t:infinity", script, "start x, ok, started; kill x; stop x; exit shutdown");
}

#[test]
fn what_waits_or_starts_when_a_dynamic_supervisor_stops_ends_too() {
    let script = "instance x; crash x; shutdown";
    check(Dynamic, "t:back=1s..8s", script, "start x, ok, started; ; forget x, exit shutdown");
    let script = "instance x:slow; instance y; shutdown; die x";
    let expected = "start x; ; refused: the supervisor is stopping, kill x, forget x, refused: the supervisor is stopping, exit shutdown; ";
    let mut bench = Bench::new(Dynamic, "t");
    bench.run("boot");
    assert_eq!(bench.run(&script[..script.len() - 7]), expected[..expected.len() - 2], "{script}");
}

#[test]
fn counts_are_otps() {
    let mut bench = Bench::new(Dynamic, "t:back=1s..8s");
    bench.run("boot; instance x; instance y; instance z; crash x; crash y");
    let counts = bench.core.counts();
    assert_eq!((counts.specs, counts.active, counts.supervisors, counts.workers), (1, 1, 0, 3));
    let mut bench = Bench::new(OneForOne, "a b:sup c:ignored");
    bench.run("boot");
    let counts = bench.core.counts();
    assert_eq!((counts.specs, counts.active, counts.supervisors, counts.workers), (3, 2, 1, 2));
}

#[test]
fn a_dynamic_supervisor_has_one_template() {
    let refused = |text: &str| script::supervisor(Dynamic, text).0.validate().unwrap_err().to_string();
    assert_eq!(refused("9/5s a b"), "a dynamic supervisor has one child, the template of its instances, not 2");
    assert_eq!(refused("9/5s "), "a dynamic supervisor has one child, the template of its instances, not 0");
}
