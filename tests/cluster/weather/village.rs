//! Five processes and a witness: what each sees of the others, and what is done to their lines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use covenant_types::format_duration;
use serde_json::Value;

use super::witness::Witness;
use crate::harness::{Up, covenant, wait_for};

/// The nodes of `covenant up`.
pub(super) const NODES: [&str; 5] = ["hub-africa", "hub-europe", "hub-asia", "tower-kisumu", "tower-kandy"];
/// How long everybody may take to see the same again.
pub(super) const HEAL_WITHIN: Duration = Duration::from_secs(60);

/// What a node sees: state and epoch of each member.
type View = BTreeMap<String, (String, u64)>;

/// A cluster of processes, and a member of it in the test's own process.
pub(super) struct Village {
    pub(super) up: Up,
    pub(super) witness: Witness,
    folder: PathBuf,
    /// The last event that each node had told when the story began.
    events: BTreeMap<String, u64>,
    began: Instant,
    table: Vec<(String, String)>,
    _dir: tempfile::TempDir,
}

impl Village {
    /// Starts all six and waits until each sees all.
    pub(super) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cluster");
        let up = Up::start(&folder);
        let witness = Witness::join(&up, &dir.path().join("witness"));
        let (events, table, began) = (BTreeMap::new(), Vec::new(), Instant::now());
        let mut village = Self { up, witness, folder, events, began, table, _dir: dir };
        village.until_views_are_equal("the cluster to form");
        village.witness.begin(&NODES);
        village.begin();
        village
    }

    /// From now on events count for the next story.
    pub(super) fn begin(&mut self) {
        for node in NODES {
            let last = self.events_of(node).iter().filter_map(|line| line["number"].as_u64()).max();
            self.events.insert(node.to_owned(), last.unwrap_or(0));
        }
        self.witness.reset();
        self.began = Instant::now();
    }

    /// One line of the table.
    pub(super) fn measured(&mut self, what: &str, value: impl std::fmt::Display) {
        self.table.push((what.to_owned(), value.to_string()));
    }

    /// Runs a verb that must succeed.
    pub(super) fn act(&self, args: &[&str]) {
        let output = covenant(&self.folder, args);
        assert!(output.status.success(), "covenant {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Has a node spoil its line, which ends by itself.
    pub(super) fn fault(&self, node: &str, fault: &[&str], ttl: Duration) {
        let ttl = format_duration(ttl);
        self.act(&[&["fault", "set", node, "--yes", "--ttl", &ttl], fault].concat());
    }

    /// What the faults of a node did that have ended.
    pub(super) fn faulted(&self, node: &str, effect: &str) -> u64 {
        let faults = self.up.ask(&["fault", "ls", node]);
        let all = ["holding", "ended"].map(|list| faults[list].as_array().cloned().unwrap_or_default()).concat();
        all.iter().filter_map(|lease| lease["effects"][effect].as_u64()).sum()
    }

    /// Waits until no node holds a fault.
    pub(super) fn until_no_fault_holds(&self) {
        wait_for("the faults to end by themselves", || {
            let none =
                |node: &&str| self.up.ask(&["fault", "ls", node])["holding"].as_array().is_some_and(Vec::is_empty);
            NODES.iter().all(none).then_some(())
        });
    }

    fn view(&self, node: &str) -> Option<View> {
        let output = covenant(&self.folder, &["members", "--json", "--node", node]);
        let members: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(view_of(members.as_array()?))
    }

    /// Waits until all see all, reachable and in the same epochs, and returns how long that took.
    pub(super) fn until_views_are_equal(&self, what: &str) -> Duration {
        let began = Instant::now();
        wait_for(what, || {
            let mine = self.witness.view();
            let whole = mine.len() == NODES.len() + 1 && mine.values().all(|(state, _)| state == "reachable");
            (whole && NODES.iter().all(|node| self.view(node).as_ref() == Some(&mine))).then_some(())
        });
        began.elapsed()
    }

    /// Waits until `node` sees `other` in `state`.
    pub(super) fn until(&self, node: &str, other: &str, state: &str) -> Duration {
        let began = Instant::now();
        let what = format!("{other}={state}");
        let output = covenant(&self.folder, &["wait", "--node", node, "--timeout", "60s", "--for", &what]);
        assert!(output.status.success(), "{node}: {what}: {}", String::from_utf8_lossy(&output.stderr));
        began.elapsed()
    }

    fn events_of(&self, node: &str) -> Vec<Value> {
        let after = self.events.get(node).copied().unwrap_or(0).to_string();
        let output = covenant(&self.folder, &["events", "--json", "--node", node, "--after", &after]);
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Who was called down by whom since the story began.
    pub(super) fn downs(&self) -> Vec<(String, String)> {
        let mut downs = Vec::new();
        for node in NODES {
            for line in self.events_of(node) {
                let changed = &line["event"]["changed"];
                if changed["state"] == "down" {
                    downs.push((node.to_owned(), changed["name"].as_str().unwrap_or_default().to_owned()));
                }
            }
        }
        downs.extend(self.witness.downs().into_iter().map(|name| ("witness".to_owned(), name)));
        downs
    }

    /// What must hold after every story: all see the same, no call hung, and monitors still tell of ends.
    #[expect(clippy::print_stdout, reason = "what a story measured is for whoever runs it")]
    pub(super) fn end(mut self, title: &str) {
        let healed = self.until_views_are_equal("all to see the same at the end");
        assert!(healed <= HEAL_WITHIN, "{healed:?}");
        self.measured("until all saw the same at the end", format!("{} ms", healed.as_millis()));
        let calls = self.witness.calls();
        assert_eq!(calls.hung, 0, "{calls:?}");
        self.measured("calls: answered", calls.answered);
        self.measured("calls: ended in a named error", calls.named_errors);
        self.measured("calls: hung", calls.hung);
        let slowest = self.kill_what_is_monitored();
        self.measured("monitors that told of a kill", format!("{} of {}", NODES.len(), NODES.len()));
        self.measured("the slowest of them", format!("{} ms", slowest.as_millis()));
        self.measured("the story took", format!("{} s", self.began.elapsed().as_secs()));
        println!("\n{title}");
        for (what, value) in &self.table {
            println!("  {what:<42} {value}");
        }
    }

    /// Kills the actor that the witness monitors on each node, and returns the longest time until it was told.
    fn kill_what_is_monitored(&self) -> Duration {
        wait_for("monitors to stand on all nodes", || self.witness.is_watching(&NODES).then_some(()));
        let mut slowest = Duration::ZERO;
        for node in NODES {
            let before = self.witness.ends(node, "killed");
            let began = Instant::now();
            self.act(&["actor", "kill", &format!("{node}:{}", super::witness::WATCHED)]);
            wait_for(&format!("the monitor on {node} to tell"), || {
                (self.witness.ends(node, "killed") > before).then_some(())
            });
            slowest = slowest.max(began.elapsed());
        }
        slowest
    }

    /// Waits until the faults of this long have ended, and says now and then that it still does.
    pub(super) fn until_lossy_time_is_over(&self, lasts: Duration) {
        self.pass_time(lasts);
        self.until_no_fault_holds();
    }

    /// Waits until a node that sleeps for this long has woken.
    pub(super) fn until_awake(&self, node: &str, lasts: Duration) {
        self.pass_time(lasts);
        for other in NODES.iter().filter(|other| **other != node) {
            self.until(other, node, "reachable");
        }
    }

    /// Lets a story go on. What follows waits for a condition; a long story would be past what that waits for.
    fn pass_time(&self, lasts: Duration) {
        let began = Instant::now();
        while began.elapsed() < lasts {
            std::thread::park_timeout(Duration::from_millis(500).min(lasts));
        }
    }

    /// The process of a node, while it has one.
    pub(super) fn pid(&self, node: &str) -> Option<u64> {
        self.up.pids().into_iter().find(|(name, _)| name == node).map(|(_, pid)| pid)
    }

    /// The epoch that a node sees of another.
    pub(super) fn epoch(&self, of: &str) -> u64 {
        self.witness.view().get(of).map_or(0, |(_, epoch)| *epoch)
    }
}

/// State and epoch of each member of a list.
pub(super) fn view_of(members: &[Value]) -> View {
    let seen = |member: &Value| {
        let word = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
        (word("name"), (word("state"), member["epoch"].as_u64().unwrap_or(0)))
    };
    members.iter().map(seen).collect()
}
