use super::*;

/// What a child without siblings does after each end.
#[track_caller]
fn ends(restart: &str, normal: &str, shutdown: &str, shutdown_with: &str, killed: &str, panic: &str) {
    let ends = [("end", normal), ("gone", shutdown), ("die", killed), ("crash", panic)];
    for (end, expected) in ends {
        check(OneForOne, &format!("a{restart}"), &format!("{end} a"), expected);
    }
    check(OneForOne, &format!("a{restart}"), "gone a reason", shutdown_with);
}

#[test]
fn a_permanent_child_is_restarted_always() {
    ends("", "start a", "start a", "start a", "start a", "start a");
}

#[test]
fn a_transient_child_is_restarted_after_an_abnormal_end_and_keeps_its_spec_after_another() {
    ends(":transient", "ended a", "ended a", "ended a", "start a", "start a");
    check(OneForOne, "a:transient", "end a; restart a", "ended a; start a, ok, started");
}

#[test]
fn a_temporary_child_is_never_restarted_and_its_spec_goes_with_it() {
    ends(":temporary", "forget a", "forget a", "forget a", "forget a", "forget a");
    check(OneForOne, "a:temporary", "end a; restart a", "forget a; refused: no child of that id");
    check(OneForOne, "a:temporary", "end a; add a", "forget a; start a, ok, started");
}

#[test]
fn an_orderly_end_spends_no_restart() {
    check(OneForOne, "0/5s a:transient b:temporary", "end a; crash b", "ended a; forget b");
}
