//! Stopping: cases 19 to 25.

use super::*;

#[test]
fn sup_stop_infinity() {
    let script = "shutdown; pass 999s; gone b; gone a";
    check(OneForOne, "a:infinity:lasting b:infinity:lasting:sup", script, "stop b; ; stop a; exit shutdown");
}

#[test]
fn sup_stop_timeout() {
    let mut bench = booted(OneForOne, "a:1s b:1s:lasting");
    assert_eq!(bench.run("shutdown; pass 999ms; pass 1ms"), "stop b; ; kill b, stop a, exit shutdown");
    assert_eq!(bench.reports, ["ShutdownError b killed"]);
}

#[test]
fn sup_stop_timeout_dynamic() {
    let mut bench = booted(Dynamic, "t:1s");
    bench.run("instance a; instance b:lasting");
    let expected = "stop a, stop b, forget a; ; kill b, forget b, exit shutdown";
    assert_eq!(bench.run("shutdown; pass 999ms; pass 1ms"), expected);
    assert_eq!(bench.reports, ["ShutdownError t killed"]);
}

#[test]
fn sup_stop_brutal_kill() {
    let mut bench = booted(OneForOne, "a b:brutal");
    assert_eq!(bench.run("shutdown"), "kill b, stop a, exit shutdown");
    assert_eq!(bench.reports, [""; 0]);
}

#[test]
fn sup_stop_brutal_kill_dynamic() {
    let mut bench = booted(Dynamic, "t:brutal");
    let names: Vec<String> = (0..10).map(|n| format!("i{n}")).collect();
    for name in &names {
        bench.run(&format!("instance {name}"));
    }
    let done = bench.run("shutdown");
    assert!(names.iter().all(|name| done.contains(&format!("kill {name}"))), "{done}");
    assert!(!done.contains("stop") && done.ends_with("exit shutdown"), "{done}");
    assert_eq!(bench.reports, [""; 0]);
}

#[test]
fn sup_stop_race() {
    // While `last` takes its time to stop, the others end by themselves, each in a way of its own.
    let restarts = ["", ":transient", ":temporary"];
    let ways = ["end", "gone", "crash", "die"];
    let mut children = String::new();
    let mut script = "shutdown".to_owned();
    for (r, restart) in restarts.iter().enumerate() {
        for (w, way) in ways.iter().enumerate() {
            children.push_str(&format!("c{r}{w}{restart} "));
            script.push_str(&format!("; {way} c{r}{w}"));
        }
    }
    children.push_str("last:lasting");
    script.push_str("; gone last");
    let mut bench = booted(OneForOne, &children);
    let done = bench.run(&script);
    assert!(done.starts_with("stop last;") && done.ends_with("exit shutdown"), "{done}");
    assert!(!done.contains("start") && !done.contains("kill"), "none is restarted: {done}");
    // Of each restart type, those who may not end like that on request are told of: of permanent ones all but `shutdown`.
    let told: Vec<&str> = bench.reports.iter().map(|report| report.split(' ').nth(1).unwrap()).collect();
    assert_eq!(told, ["c23", "c22", "c13", "c12", "c03", "c02", "c00"]);
}

#[test]
fn sup_stop_non_shutdown_exit_dynamic() {
    for restart in ["", ":transient", ":temporary"] {
        for way in ["end", "gone", "crash", "die"] {
            let mut bench = booted(Dynamic, &format!("t{restart}"));
            bench.run("instance a:lasting; instance b");
            let done = bench.run(&format!("shutdown; {way} a"));
            assert_eq!(done, "stop a, stop b, forget b; forget a, exit shutdown", "{restart} {way}");
            let fine = way == "gone" || (way == "end" && !restart.is_empty());
            assert_eq!(bench.reports.is_empty(), fine, "{restart} {way}: {:?}", bench.reports);
        }
    }
}
