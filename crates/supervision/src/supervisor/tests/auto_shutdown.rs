use super::*;

#[test]
fn the_first_significant_child_that_ends_for_good_ends_an_any_supervisor() {
    let children = "9/5s/any a b:transient:sig c:temporary:sig d:transient";
    check(OneForOne, children, "end d", "ended d");
    check(OneForOne, children, "end b", "ended b, stop d, stop c, forget c, stop a, exit shutdown");
    check(OneForOne, children, "crash c", "forget c, stop d, stop b, stop a, exit shutdown");
    check(OneForOne, children, "crash b; gone b", "start b; ended b, stop d, stop c, forget c, stop a, exit shutdown");
}

#[test]
fn the_last_significant_child_ends_an_all_supervisor() {
    let children = "9/5s/all a b:transient:sig c:temporary:sig";
    check(OneForOne, children, "end b; end c", "ended b; forget c, stop a, exit shutdown");
    check(OneForOne, children, "end c; crash b; end b", "forget c; start b; ended b, stop a, exit shutdown");
    // One that is being restarted counts as alive.
    let children = "9/5s/all a b:transient:sig:back=1s..8s c:temporary:sig";
    check(OneForOne, children, "crash b; end c; pass 1s", "; forget c; start b");
}

#[test]
fn who_was_stopped_by_others_does_not_count() {
    let children = "9/5s/any a b:temporary:sig c:transient:sig";
    check(OneForOne, children, "terminate b; terminate c", "stop b, forget b, ok; stop c, ended c, ok");
    check(OneForAll, children, "crash a", "stop c, stop b, forget b, start a, start c");
    check(RestForOne, children, "crash a", "stop c, stop b, forget b, start a, start c");
}

#[test]
fn significance_is_refused_where_it_means_nothing() {
    let refused = |text: &str| script::supervisor(OneForOne, text).0.validate().unwrap_err().to_string();
    assert_eq!(
        refused("9/5s/any a:sig"),
        "a is permanent and never ends for good, so it cannot be significant: make it transient or temporary"
    );
    let never = "a is significant, and auto_shutdown is never: set any_significant or all_significant";
    assert_eq!(refused("a:transient:sig"), never);
    let script = "add b:transient:sig";
    check(OneForOne, "a", script, &format!("refused: the spec is wrong: b{}", never.strip_prefix('a').unwrap()));
    let dynamic = script::supervisor(Dynamic, "9/5s/any a:temporary:sig").0.validate().unwrap_err().to_string();
    assert_eq!(dynamic, "a dynamic supervisor does not end with its children: auto_shutdown must be never");
}
