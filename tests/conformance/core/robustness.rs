//! Robustness, trees and scale: cases 59 to 62, 65, and 68 to 71.

use super::*;
use crate::ChildState;

/// A dynamic supervisor of `t` with so many instances.
fn instances(template: &str, many: usize) -> Bench {
    let mut bench = booted(Dynamic, template);
    for n in 0..many {
        bench.run(&format!("instance i{n}"));
    }
    bench
}

#[test]
fn count_children() {
    let mut bench = instances("t:temporary", 1000);
    assert_eq!(counts(&bench), [1, 1000, 0, 1000]);
    for n in 1000..2000 {
        bench.run(&format!("instance i{n}"));
    }
    assert_eq!(counts(&bench), [1, 2000, 0, 2000]);
    for n in 0..2000 {
        bench.run(&format!("die i{n}"));
    }
    assert_eq!(counts(&bench), [1, 0, 0, 0]);
}

#[test]
fn count_children_supervisor() {
    let mut bench = instances("t:temporary:sup", 1000);
    assert_eq!(counts(&bench), [1, 1000, 1000, 0]);
    for n in 0..1000 {
        bench.run(&format!("die i{n}"));
    }
    assert_eq!(counts(&bench), [1, 0, 0, 0]);
}

#[test]
fn count_restarting_children() {
    let mut bench = instances("999999/5s t", 3);
    assert_eq!(counts(&bench), [1, 3, 0, 3]);
    bench.run("now i0:bad; now i1:bad; crash i0; crash i1");
    assert_eq!(counts(&bench), [1, 1, 0, 3]);
    bench.run("now i0; now i1; pass 0s");
    assert_eq!(counts(&bench), [1, 3, 0, 3]);
    bench.run("terminate i0; terminate i1; terminate i2");
    assert_eq!(counts(&bench), [1, 0, 0, 0]);
}

#[test]
fn do_not_save_child_specs_for_temporary_children() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        for way in ["die", "end", "crash", "terminate"] {
            let mut bench = booted(strategy, "");
            bench.run("add a:temporary");
            bench.run(&format!("{way} a"));
            assert_eq!(ids(&bench), [""; 0], "{strategy:?} {way}");
        }
    }
}

#[test]
fn simple_one_for_one_scale_many_temporary_children() {
    // That it grows no faster than the children is measured by the benchmark; here, that all of them go, one by one.
    let mut bench = instances("t:temporary", 10_000);
    for n in 0..10_000 {
        assert_eq!(bench.run(&format!("terminate i{n}")), format!("stop i{n}, forget i{n}, ok"));
    }
    assert_eq!(counts(&bench), [1, 0, 0, 0]);
}

#[test]
fn hanging_restart_loop() {
    check_steps(
        OneForOne,
        "999999/5s a",
        &[
            ("now a:bad; crash a", "; start a fails"),
            ("add a", "refused: a child of that id is there, stopped; restart or delete it"),
            ("restart a", "refused: the child is being restarted"),
            ("delete a", "refused: the child is being restarted"),
            ("terminate a", "ended a, ok"),
            ("pass 1s", ""),
            ("now a; restart a", "; start a, ok, started"),
            ("now a:bad; crash a", "; start a fails"),
            ("shutdown", "exit shutdown"),
        ],
    );
}

#[test]
fn hanging_restart_loop_rest_for_one() {
    let mut bench = booted(RestForOne, "999999/5s a b c");
    assert_eq!(bench.run("now b:bad; crash b"), "; stop c, start b fails");
    let states = ["a", "b", "c"].map(|child| bench.state(child).unwrap());
    assert_eq!(states, [ChildState::Running, ChildState::Restarting, ChildState::Undefined]);
    assert_eq!(
        bench.run("restart b; restart a"),
        "refused: the child is being restarted; refused: the child is running"
    );
    assert_eq!(bench.run("shutdown"), "stop a, exit shutdown");
}

#[test]
fn hanging_restart_loop_simple() {
    check_steps(
        Dynamic,
        "999999/5s t",
        &[
            ("instance a; instance b", "start a, ok, started; start b, ok, started"),
            ("now a:bad; crash a", "; start a fails"),
            ("instance a", "refused: a child of that id runs already"),
            ("terminate a", "forget a, ok"),
            ("pass 1s", ""),
            ("now b:bad; crash b", "; start b fails"),
            ("shutdown", "forget b, exit shutdown"),
        ],
    );
}

#[test]
fn order_of_children() {
    let five = "e b d a c";
    check(OneForAll, five, "crash d", "stop c, stop a, stop b, stop e, start e, start b, start d, start a, start c");
    check(OneForAll, five, "shutdown", "stop c, stop a, stop d, stop b, stop e, exit shutdown");
}
