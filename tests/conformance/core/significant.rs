//! Significant children: cases 76 to 82.

use super::*;

const MODES: [&str; 3] = ["", "/any", "/all"];

#[test]
fn nonsignificant_temporary() {
    for mode in MODES {
        for (way, done) in [
            ("terminate b", "stop b, forget b, ok"),
            ("die b", "forget b"),
            ("crash b", "forget b"),
            ("end b", "forget b"),
        ] {
            check(OneForOne, &format!("9/5s{mode} a b:temporary"), way, done);
        }
    }
}

#[test]
fn nonsignificant_transient() {
    for mode in MODES {
        for (way, done) in
            [("terminate b", "stop b, ended b, ok"), ("die b", "start b"), ("crash b", "start b"), ("end b", "ended b")]
        {
            check(OneForOne, &format!("9/5s{mode} a b:transient"), way, done);
        }
    }
}

#[test]
fn significant_temporary() {
    for way in ["die", "crash", "end", "gone"] {
        let children = "b:temporary:sig c:temporary:sig";
        let any = format!("9/5s/any a {children}");
        check(
            OneForOne,
            &any,
            &format!("terminate c; {way} b"),
            "stop c, forget c, ok; forget b, stop a, exit shutdown",
        );
        let all = format!("9/5s/all a {children}");
        check(OneForOne, &all, &format!("{way} b; {way} c"), "forget b; forget c, stop a, exit shutdown");
        check(OneForOne, &all, &format!("{way} b; terminate c"), "forget b; stop c, forget c, ok");
    }
}

#[test]
fn significant_transient() {
    let children = "b:transient:sig c:transient:sig";
    let any = format!("9/5s/any a {children}");
    check(OneForOne, &any, "terminate c; die b; crash b", "stop c, ended c, ok; start b; start b");
    for way in ["end", "gone"] {
        check(OneForOne, &any, &format!("{way} b"), "ended b, stop c, stop a, exit shutdown");
        let all = format!("9/5s/all a {children}");
        check(
            OneForOne,
            &all,
            &format!("{way} b; crash c; {way} c"),
            "ended b; start c; ended c, stop a, exit shutdown",
        );
        check(OneForOne, &all, &format!("{way} b; terminate c"), "ended b; stop c, ended c, ok");
    }
}

#[test]
fn significant_simple() {
    for mode in ["/any", "/all"] {
        let (spec, _) = script::supervisor(Dynamic, &format!("9/5s{mode} t:temporary:sig"));
        assert!(spec.validate().is_err(), "{mode}");
    }
    let (spec, _) = script::supervisor(Dynamic, "9/5s t:temporary");
    spec.validate().unwrap();
}

#[test]
fn significant_bystander() {
    for mode in ["/any", "/all"] {
        for restart in ["transient", "temporary"] {
            let children = format!("9/5s{mode} a b:{restart}:sig");
            for strategy in [OneForAll, RestForOne] {
                let mut bench = booted(strategy, &children);
                let done = bench.run("crash a");
                assert!(done.starts_with("stop b") && done.contains("start a") && !done.contains("exit"), "{done}");
            }
            let mut bench = booted(OneForOne, &children);
            assert_eq!(bench.run("crash a"), "start a");
        }
    }
}

#[test]
fn significant_escalation() {
    // C ends for good and takes B along, whose end is `shutdown`: A goes too where B is significant.
    let b = "9/5s/any c:transient:sig";
    check(OneForOne, b, "end c", "ended c, exit shutdown");
    check(OneForOne, "9/5s/any x b:sup:transient:sig", "gone b", "ended b, stop x, exit shutdown");
    check(OneForOne, "9/5s/any x b:sup:transient", "gone b", "ended b");
}
