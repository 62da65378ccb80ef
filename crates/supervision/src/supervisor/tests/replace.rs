use super::*;

#[test]
fn what_runs_goes_on_under_new_specs() {
    let script = "replace one 1/5s a:brutal b; crash a; crash b";
    check(OneForOne, "9/5s a b", script, "ok; start a; kill a, exit shutdown");
    check(OneForOne, "a", "replace one a:brutal; shutdown", "ok; kill a, exit shutdown");
    check(OneForOne, "a b", "replace all a b; crash b", "ok; stop a, start a, start b");
}

#[test]
fn a_new_child_is_not_started_and_one_that_is_not_named_is_kept_before_the_others() {
    let script = "replace one b c; restart c; shutdown";
    check(OneForOne, "a b", script, "ok; start c, ok, started; stop c, stop b, stop a, exit shutdown");
    check(OneForOne, "a b c", "replace one c b; shutdown", "ok; stop b, stop c, stop a, exit shutdown");
}

#[test]
fn a_spec_that_is_refused_changes_nothing() {
    let cases = [
        ("replace one a a", "two children have the id a"),
        (
            "replace one a:sig",
            "a is permanent and never ends for good, so it cannot be significant: make it transient or temporary",
        ),
        ("replace dynamic a", "a supervisor that runs cannot become dynamic or cease to be"),
    ];
    for (script, why) in cases {
        let expected = format!("refused: the spec is wrong: {why}; start a; stop a, exit shutdown");
        check(OneForOne, "a", &format!("{script}; crash a; shutdown"), &expected);
    }
}

#[test]
fn a_template_is_replaced_for_the_instances_there_are_too() {
    let script = "instance x; replace dynamic t:temporary; crash x";
    check(Dynamic, "t", script, "start x, ok, started; ok; forget x");
    let refused =
        "refused: the spec is wrong: a dynamic supervisor has one child, the template of its instances, not 2";
    check(Dynamic, "t", "replace dynamic 9/5s t u", refused);
}

#[test]
fn significance_can_begin_and_end() {
    check(
        OneForOne,
        "a b:transient",
        "replace one 9/5s/any a b:transient:sig; end b",
        "ok; ended b, stop a, exit shutdown",
    );
    check(OneForOne, "9/5s/any a b:transient:sig", "replace one a; end b", "ok; ended b");
    let all = "9/5s/all a b:transient:sig c:transient:sig";
    check(
        OneForOne,
        "9/5s/any a b:transient:sig c:transient:sig",
        &format!("replace one {all}; end b; end c"),
        "ok; ended b; ended c, stop a, exit shutdown",
    );
}

#[test]
fn restarts_that_were_counted_stay_counted() {
    check(OneForOne, "9/5s a", "crash a; replace one 1/5s a; crash a", "start a; ok; exit shutdown");
    check(OneForOne, "9/5s a:own=9/5s", "crash a; replace one 9/5s a:own=1/5s; crash a", "start a; ok; exit shutdown");
}

#[test]
fn a_replacement_waits_for_a_start_under_way() {
    check(OneForOne, "a b", "now a:slow; crash a; replace one a; up a", "; start a; ; ok");
}
