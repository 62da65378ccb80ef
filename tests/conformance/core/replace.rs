//! Specs that change while the supervisor runs: cases 83 to 93.

use super::*;

#[test]
fn code_change() {
    check_steps(
        OneForOne,
        "9/5s a",
        &[
            ("replace one 0/5s a", "ok"),
            (
                "replace one 9/5s a:sig",
                "refused: the spec is wrong: a is permanent and never ends for good, so it cannot be significant: make it transient or temporary",
            ),
            ("replace one 9/5s a b", "ok"),
            ("crash a", "start a"),
            ("restart b", "start b, ok, started"),
            ("replace one b:brutal", "ok"),
            ("shutdown", "kill b, stop a, exit shutdown"),
        ],
    );
    check(OneForOne, "9/5s a", "replace one 0/5s a; crash a", "ok; exit shutdown");
}

#[test]
fn code_change_map() {
    let mut bench = booted(OneForOne, "a:2s:lasting");
    assert_eq!(bench.run("replace one a:1s"), "ok");
    let shutdown = bench.core.child_spec(&script::id("a")).unwrap().shutdown;
    assert_eq!(shutdown, crate::Shutdown::Timeout(std::time::Duration::from_secs(1)));
    assert_eq!(bench.run("shutdown; pass 999ms; pass 1ms"), "stop a; ; kill a, exit shutdown");
}

#[test]
fn code_change_simple() {
    let only_one = "refused: the spec is wrong: a dynamic supervisor has one child, the template of its instances, not";
    check_steps(
        Dynamic,
        "t",
        &[
            ("instance a", "start a, ok, started"),
            ("replace dynamic t:transient", "ok"),
            ("replace dynamic 9/5s t u", &format!("{only_one} 2")),
            ("replace dynamic 9/5s ", &format!("{only_one} 0")),
            ("end a", "forget a"),
        ],
    );
}

/// From `before` by way of a refused and an accepted `add`, to how the end of significant children is taken after `change`.
#[track_caller]
fn upgrade(before: &str, change: &str, steps: &[(&str, &str)]) {
    let mut all = vec![(change, "ok")];
    all.extend_from_slice(steps);
    check_steps(OneForOne, before, &all);
}

const NEVER: &str =
    "refused: the spec is wrong: s is significant, and auto_shutdown is never: set any_significant or all_significant";

#[test]
fn significant_upgrade_never_any() {
    check(OneForOne, "a", "add s:temporary:sig", NEVER);
    upgrade(
        "a",
        "replace one 9/5s/any a",
        &[("add s:temporary:sig", "start s, ok, started"), ("end s", "forget s, stop a, exit shutdown")],
    );
}

#[test]
fn significant_upgrade_any_never() {
    check_steps(
        OneForOne,
        "9/5s/any a",
        &[
            ("add r:temporary:sig", "start r, ok, started"),
            ("replace one 9/5s a", "ok"),
            ("end r", "forget r"),
            ("add s:temporary:sig", NEVER),
        ],
    );
}

#[test]
fn significant_upgrade_never_all() {
    check(OneForOne, "a", "add s:temporary:sig", NEVER);
    upgrade(
        "a",
        "replace one 9/5s/all a",
        &[
            ("add s:temporary:sig", "start s, ok, started"),
            ("add r:temporary:sig", "start r, ok, started"),
            ("end s", "forget s"),
            ("end r", "forget r, stop a, exit shutdown"),
        ],
    );
}

#[test]
fn significant_upgrade_all_never() {
    check_steps(
        OneForOne,
        "9/5s/all a",
        &[
            ("add r:temporary:sig", "start r, ok, started"),
            ("replace one 9/5s a", "ok"),
            ("end r", "forget r"),
            ("add s:temporary:sig", NEVER),
        ],
    );
}

#[test]
fn significant_upgrade_any_all() {
    upgrade(
        "9/5s/any a s:temporary:sig r:temporary:sig",
        "replace one 9/5s/all a s:temporary:sig r:temporary:sig",
        &[("end s", "forget s"), ("end r", "forget r, stop a, exit shutdown")],
    );
}

#[test]
fn significant_upgrade_all_any() {
    upgrade(
        "9/5s/all a s:temporary:sig r:temporary:sig",
        "replace one 9/5s/any a s:temporary:sig r:temporary:sig",
        &[("end s", "forget s, stop r, forget r, stop a, exit shutdown")],
    );
}

#[test]
fn significant_upgrade_child() {
    upgrade(
        "9/5s/any a s:transient",
        "replace one 9/5s/any a s:transient:sig",
        &[("end s", "ended s, stop a, exit shutdown")],
    );
    upgrade("9/5s/any a s:transient:sig", "replace one 9/5s/any a s:transient", &[("end s", "ended s")]);
    let refused = "refused: the spec is wrong: a is permanent and never ends for good, so it cannot be significant: make it transient or temporary";
    check_steps(
        OneForOne,
        "9/5s/any a s:transient",
        &[("replace one 9/5s/any a:sig s:transient", refused), ("end a", "start a"), ("end s", "ended s")],
    );
}
