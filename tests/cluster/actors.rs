//! Looking at single actors of a running node, by the command line.

use serde_json::Value;

use crate::harness::{self, assert_refused, wait_for};
use crate::standalone::Solo;

const WATCHER: &str = "hub-solo:/watch/watcher";

fn said(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(node: &Solo, args: &[&str]) -> Value {
    serde_json::from_str(&said(&node.verb(&[args, &["--json"]].concat()))).unwrap()
}

#[test]
fn a_crash_is_listed_and_shown_with_what_was_handled_before_it_and_who_mended_it() {
    let _turn = harness::turn();
    let node = Solo::start();
    assert_eq!(said(&node.verb(&["crash", "ls"])), "no crashes\n");
    // A look that has been handled is something to remember.
    wait_for("the watcher to look", || {
        let seen = json(&node, &["actor", "inspect", WATCHER]);
        let messages = seen["record"]["messages"].as_array()?;
        messages.iter().any(|message| message["kind"] == "Look").then_some(())
    });
    said(&node.verb(&["actor", "kill", WATCHER]));
    let listed = wait_for("the crash to be listed", || {
        let list = json(&node, &["crash", "ls"]);
        list[0]["id"].is_string().then(|| list[0].clone())
    });
    assert_eq!(
        (&listed["path"], &listed["class"], &listed["count"]),
        (&"/watch/watcher".into(), &"killed".into(), &1.into())
    );
    let id = listed["id"].as_str().unwrap();
    let capsule = wait_for("its supervisor's decision", || {
        let capsule = json(&node, &["crash", "show", id]);
        capsule["chain"][0].is_object().then_some(capsule)
    });
    assert_eq!(
        (&capsule["chain"][0]["supervisor"], &capsule["chain"][0]["did"]),
        (&"/watch".into(), &"restarted".into())
    );
    let messages = capsule["first"]["record"]["messages"].as_array().unwrap();
    assert!(messages.iter().any(|message| message["kind"] == "Look"), "{capsule}");
    let shown = said(&node.verb(&["crash", "show", id]));
    for word in ["/watch/watcher watch.watcher", "killed", "restarted", "LAST MESSAGES", "Look"] {
        assert!(shown.contains(word), "{word:?} is not in {shown}");
    }
    let file = node.data().join("crashes").join(format!("{id}.json"));
    wait_for("the file", || std::fs::read(&file).ok());
    assert_refused(&node.verb(&["crash", "show", "0123"]), 3, &["covenant crash ls"]);
    assert_refused(&node.verb(&["crash", "show", "../x"]), 2, &["is no id"]);
}

#[test]
fn an_actor_is_suspended_and_resumed_and_its_messages_can_be_watched() {
    let _turn = harness::turn();
    let node = Solo::start();
    let traced = said(&node.verb(&["actor", "trace", WATCHER, "--limit", "2", "--for", "30s"]));
    assert_eq!(traced.lines().count(), 2, "{traced}");
    assert!(traced.lines().all(|line| line.starts_with('+') && line.ends_with("us")), "{traced}");

    assert!(said(&node.verb(&["actor", "suspend", WATCHER])).contains("begins no message more"));
    assert!(said(&node.verb(&["tree", "show"])).contains("suspended"));
    let lines = said(&node.verb(&["actor", "trace", WATCHER, "--for", "10ms", "--json"]));
    let end: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&end["line"], &end["ended"], &end["shown"]), (&"end".into(), &"time".into(), &0.into()));
    assert_eq!(json(&node, &["actor", "resume", WATCHER])["was_suspended"], true);
    let seen = said(&node.verb(&["actor", "inspect", WATCHER]));
    for word in ["/watch/watcher running", "handler time", "LAST MESSAGES", "Look"] {
        assert!(seen.contains(word), "{word:?} is not in {seen}");
    }
    assert_refused(&node.verb(&["actor", "trace", "hub-solo:/watch"]), 6, &["has no mailbox", "nothing was done"]);
    assert_refused(&node.verb(&["actor", "inspect", "hub-solo:/nobody"]), 3, &["nothing was done"]);
    assert_refused(&node.verb(&["actor", "resume", "hub-other:/watch"]), 2, &["not hub-other"]);
    let acts: Vec<_> = node.audit().iter().map(|line| line["verb"].clone()).collect();
    let wanted = ["actor trace", "actor suspend", "actor trace", "actor resume", "actor trace"];
    assert_eq!(acts, wanted.map(Value::from));
}
