//! Restart types by kinds of exit: cases 32 to 42.

use super::*;
use crate::ChildState;

#[test]
fn permanent_normal() {
    check(OneForOne, "a", "end a", "start a");
}

#[test]
fn transient_normal() {
    let mut bench = booted(OneForOne, "a:transient");
    assert_eq!(bench.run("end a"), "ended a");
    assert_eq!(bench.state("a"), Some(ChildState::Undefined));
}

#[test]
fn temporary_normal() {
    let mut bench = booted(OneForOne, "a:temporary");
    assert_eq!(bench.run("end a"), "forget a");
    assert_eq!(bench.state("a"), None);
}

#[test]
fn permanent_shutdown() {
    check(OneForOne, "a", "gone a; gone a why", "start a; start a");
}

#[test]
fn transient_shutdown() {
    let script = "gone a; restart a; gone a why; restart a";
    check(OneForOne, "a:transient", script, "ended a; start a, ok, started; ended a; start a, ok, started");
}

#[test]
fn temporary_shutdown() {
    let script = "gone a; add a:temporary; gone a why; add a:temporary";
    check(OneForOne, "a:temporary", script, "forget a; start a, ok, started; forget a; start a, ok, started");
}

#[test]
fn permanent_abnormal() {
    check(OneForOne, "a", "crash a; die a", "start a; start a");
}

#[test]
fn transient_abnormal() {
    check(OneForOne, "a:transient", "crash a; die a", "start a; start a");
}

#[test]
fn temporary_abnormal() {
    check(OneForOne, "a:temporary", "crash a", "forget a");
}

#[test]
fn temporary_bystander() {
    check(OneForAll, "a b:temporary", "crash a; crash a", "stop b, forget b, start a; start a");
    check(RestForOne, "a b:temporary", "crash a; crash a", "stop b, forget b, start a; start a");
}
