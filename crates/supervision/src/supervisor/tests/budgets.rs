use super::*;

#[test]
fn a_budget_of_its_own_spares_the_supervisors() {
    let five = "0/5s a:own=1/5s b:own=1/5s c:own=1/5s d:own=1/5s e:own=1/5s";
    let script = "crash a; crash b; crash c; crash d; crash e";
    check(OneForOne, five, script, "start a; start b; start c; start d; start e");
}

#[test]
fn a_spent_budget_ends_the_supervisor() {
    check(OneForOne, "9/5s a:own=1/5s b", "crash a; crash a", "start a; stop b, exit shutdown");
    check(OneForOne, "9/5s a:own=1/5s b", "crash a; pass 6s; crash a", "start a; ; start a");
    check_reports(OneForOne, "9/5s a:own=0/5s", "crash a", "ChildTerminated a panic: boom, max intensity");
}

#[test]
fn a_failed_start_spends_the_childs_own_budget() {
    let script = "spoil a 99; crash a; pass 1s";
    check(OneForOne, "0/5s a:own=2/5s b", script, "; start a fails; start a fails, stop b, exit shutdown");
}

#[test]
fn a_conflict_is_not_counted_and_not_tried_again_at_once() {
    check(OneForOne, "0/5s a", "conflict a; pass 1s; conflict a; pass 1s", "; start a; ; start a");
    check(OneForOne, "0/5s a:back=3s..9s", "conflict a; pass 2s; pass 1s", "; ; start a");
    check(OneForOne, "0/5s a:transient", "conflict a; pass 1s; crash a", "; start a; exit shutdown");
}

#[test]
fn who_may_overlap_is_started_again_while_the_old_one_does_not_end() {
    check(OneForOne, "a:immortal:overlap", "kill a; pass 1s; crash-again a 1", "kill a; start a; ");
    check(
        OneForOne,
        "a:immortal:overlap b",
        "terminate a; pass 6s; restart a",
        "stop a; kill a, ended a, ok; start a, ok, started",
    );
    let reports = "Unkillable a killed, ChildTerminated a killed";
    check_reports(OneForOne, "a:immortal:overlap", "kill a; pass 1s", reports);
}
