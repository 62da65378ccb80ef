//! Specs: cases 13 to 18.

use std::time::Duration;

use super::*;
use crate::{AutoShutdown, ChildKind, ChildSpec, Restart, Shutdown, SupervisorSpec};

#[test]
fn sup_start_map() {
    let bench = booted(OneForOne, "a b:sup");
    let spec = bench.core.child_spec(&script::id("a")).unwrap();
    let five_seconds = Shutdown::Timeout(Duration::from_secs(5));
    assert_eq!((spec.restart, spec.shutdown, spec.kind), (Restart::Permanent, five_seconds, ChildKind::Worker));
    assert!(!spec.significant);
    let spec = bench.core.child_spec(&script::id("b")).unwrap();
    assert_eq!((spec.shutdown, spec.kind), (Shutdown::Infinity, ChildKind::Supervisor));
    assert_eq!(bench.core.child_spec(&script::id("nobody")), None);
    let read = file("[[child]]\nid = \"a\"\nbehaviour = \"x\"\n").unwrap();
    assert_eq!(read.spec, SupervisorSpec::new(OneForOne, vec![ChildSpec::new(script::id("a"), ChildKind::Worker)]));
    assert_eq!((read.spec.intensity, read.spec.period), (1, Duration::from_secs(5)));
}

#[test]
fn sup_start_map_simple() {
    let mut bench = booted(Dynamic, "t:transient:2s");
    bench.run("instance x");
    let spec = bench.core.child_spec(&script::id("x")).unwrap();
    assert_eq!((spec.restart, spec.shutdown), (Restart::Transient, Shutdown::Timeout(Duration::from_secs(2))));
    assert_eq!(bench.core.child_spec(&script::id("stranger")), None);
}

#[test]
fn sup_start_map_faulty_specs() {
    let cases = [
        ("[[child]]\nbehaviour = \"x\"\n", "root.toml:1:1: this child has no id"),
        ("[[child]]\nid = \"a\"\n", "root.toml:1:1: a has neither a behaviour nor a tree"),
        // OTP accepts a key it does not know; we take it for a slip of the pen.
        (
            "[[child]]\nid = \"a\"\nbehaviour = \"x\"\nrestrat = \"permanent\"\n",
            "root.toml:4:1: unknown key \"restrat\": did you mean \"restart\"?",
        ),
        ("child = [\"a\"]\n", "root.toml:1:10: child must be a table, not a text"),
    ];
    for (text, error) in cases {
        assert_eq!(file(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn child_specs() {
    let child = |line: &str| file(&format!("[[child]]\nid = \"a\"\nbehaviour = \"x\"\n{line}\n"));
    let cases = [
        ("restart = \"prmanent\"", "root.toml:4:11: unknown restart \"prmanent\": did you mean \"permanent\"?"),
        ("shutdown = \"-1s\"", "root.toml:4:12: "),
        ("shutdown = \"brutal\"", "root.toml:4:12: "),
        ("significant = 1", "root.toml:4:15: significant must be true or false, not an integer"),
        ("kill_grace = \"0s\"", "root.toml:4:14: kill_grace must be longer than zero"),
    ];
    for (line, error) in cases {
        let refused = child(line).unwrap_err();
        assert!(refused.starts_with(error), "{line}: {refused}");
    }
    let twice = "[[child]]\nid = \"a\"\nbehaviour = \"x\"\n".repeat(2);
    assert_eq!(file(&twice).unwrap_err(), "root.toml:5:6: two children have the id a");
    let none = file("strategy = \"dynamic\"\n").unwrap_err();
    assert!(none.contains("one child, the template of its instances, not 0"), "{none}");
    for restart in ["permanent", "transient", "temporary"] {
        for shutdown in ["brutal_kill", "1s", "0s", "infinity"] {
            for kind in ["behaviour = \"x\"", "host = \"hosted\"\nbehaviour = \"x\""] {
                file(&format!("[[child]]\nid = \"a\"\n{kind}\nrestart = \"{restart}\"\nshutdown = \"{shutdown}\"\n"))
                    .unwrap();
            }
        }
    }
}

#[test]
fn child_specs_map() {
    let autos = [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];
    let restarts = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    let shutdowns = [Shutdown::BrutalKill, Shutdown::Timeout(Duration::ZERO), Shutdown::Infinity];
    for auto_shutdown in autos {
        for restart in restarts {
            for shutdown in shutdowns {
                for kind in [ChildKind::Worker, ChildKind::Supervisor] {
                    for significant in [false, true] {
                        let child =
                            ChildSpec { restart, shutdown, significant, ..ChildSpec::new(script::id("a"), kind) };
                        let spec = SupervisorSpec { auto_shutdown, ..SupervisorSpec::new(OneForOne, vec![child]) };
                        let legal =
                            !significant || (restart != Restart::Permanent && auto_shutdown != AutoShutdown::Never);
                        assert_eq!(spec.validate().is_ok(), legal, "{spec:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn sup_flags() {
    let cases = [
        (
            "strategy = \"one_for_none\"",
            "root.toml:1:12: unknown strategy \"one_for_none\": did you mean \"one_for_one\"?",
        ),
        ("intensity = -1", "root.toml:1:13: intensity must be 0 to 4294967295"),
        ("intensity = \"many\"", "root.toml:1:13: intensity must be an integer, not a text"),
        ("intensity = 1.5", "root.toml:1:13: intensity must be an integer, not a number"),
        ("period = \"0s\"", "root.toml:1:10: period must be longer than zero"),
        ("period = \"infinity\"", "root.toml:1:10: "),
        (
            "auto_shutdown = \"sometimes\"",
            "root.toml:1:17: unknown auto_shutdown \"sometimes\": use one of never, any_significant, all_significant",
        ),
        (
            "flag = 1",
            "root.toml:1:1: unknown key \"flag\": use one of strategy, intensity, period, auto_shutdown, partitions, child",
        ),
    ];
    for (text, error) in cases {
        let refused = file(text).unwrap_err();
        assert!(refused.starts_with(error), "{text}: {refused}");
    }
}
