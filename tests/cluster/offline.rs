//! Towers that sign payments while nobody hears them.

use serde_json::Value;

use crate::harness::{Up, assert_refused, covenant, turn, wait_for};

/// The ledger over there, and a tower.
struct Village<'a> {
    up: &'a Up,
    tower: &'a str,
}

impl Village<'_> {
    /// A verb of the ledger at a hub.
    fn hub(&self, args: &[&str]) -> Value {
        self.up.ask(&[&["ledger"], args, &["--node", "hub-africa"]].concat())
    }

    fn outbox(&self) -> Value {
        self.up.ask(&["ledger", "outbox", "--node", self.tower])
    }

    /// What became of what the tower signed, in the order of numbers.
    fn states(&self) -> Vec<String> {
        let outbox = self.outbox();
        let intents = outbox["intents"].as_array().unwrap().iter();
        intents.map(|intent| intent["state"].as_str().unwrap().to_owned()).collect()
    }

    fn wait_for_states(&self, wanted: &[&str]) {
        wait_for(&format!("{} to hear {wanted:?}", self.tower), || (self.states() == wanted).then_some(()));
    }

    /// Gives the tower 100 dollars, and waits until it has heard of them.
    fn fund(&self, id: &str) -> String {
        self.hub(&["transfer", "--from", "treasury", "--to", "communities", "--amount", "100.00", "--id", id]);
        let key = self.outbox()["key"].as_str().unwrap().to_owned();
        let open = ["allowance", "open", "--device", &key, "--from", "communities", "--amount", "100.00", "--id", "a1"];
        assert_eq!(self.hub(&open)["booked"], true);
        assert_eq!(self.hub(&open)["booked"], false, "the same id twice books once");
        wait_for("the tower to hear of its allowance", || (self.outbox()["allowance"] == "open").then_some(()));
        self.outbox()["device"].as_str().unwrap().to_owned()
    }

    fn intend(&self, id: &str, amount: &str) -> Value {
        let pay = ["ledger", "intend", "--to", "nation:LKA", "--amount", amount, "--id", id, "--node", self.tower];
        self.up.ask(&pay)
    }

    fn balance(&self, account: &str) -> String {
        let balances = self.hub(&["balances"]);
        let accounts = balances["accounts"].as_array().unwrap();
        let found = accounts.iter().find(|row| row["account"] == account);
        found.map_or_else(|| "0.00".to_owned(), |row| row["balance"].as_str().unwrap().to_owned())
    }

    fn allowance(&self, device: &str) -> Value {
        self.hub(&["allowance", "status", device])["allowances"][0].clone()
    }

    /// The book adds up, and all money in it sums to zero.
    fn check(&self) {
        let check = self.hub(&["check"]);
        assert!(check["ok"] == true && check["sum"] == "0.00", "{check}");
    }
}

#[test]
fn a_tower_that_was_cut_off_and_killed_has_each_payment_booked_once() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path());
    let village = Village { up: &up, tower: "tower-kandy" };
    let device = village.fund("f1");

    let names = up.pids().into_iter().map(|(name, _)| name);
    let hubs: Vec<String> = names.filter(|name| name.starts_with("hub-")).collect();
    for hub in &hubs {
        up.ask(&["fault", "set", hub, "--yes", "--ttl", "10m", "--partition", "--with", village.tower]);
    }
    for id in ["1", "2", "3"] {
        assert_eq!(village.intend(id, "20.00")["state"], "accepted");
    }
    assert_eq!(village.intend("2", "20.00")["sequence"], 2, "an id is signed once");
    let much = ["ledger", "intend", "--to", "nation:LKA", "--amount", "40.01", "--node", village.tower];
    assert_refused(&covenant(folder.path(), &much), 6, &["40.01 is more than the 40.00", "nothing was signed"]);

    up.ask(&["node", "kill", village.tower]);
    let back = || covenant(folder.path(), &["ledger", "outbox", "--node", village.tower]).status.success();
    wait_for("the tower to be back", || back().then_some(()));
    assert_eq!(village.states(), ["accepted"; 3], "what was acknowledged is there, and nobody has heard it");
    assert_eq!(village.intend("4", "5.00")["sequence"], 4);
    assert_eq!(
        (village.balance("nation:LKA"), village.allowance(&device)["left"].clone()),
        ("0.00".into(), "100.00".into())
    );

    for hub in &hubs {
        up.ask(&["fault", "lift", hub, "--all"]);
    }
    village.wait_for_states(&["applied"; 4]);
    assert_eq!(village.balance("nation:LKA"), "65.00");
    let allowance = village.allowance(&device);
    assert_eq!((&allowance["left"], &allowance["next"]), (&"35.00".into(), &5.into()), "{allowance}");

    assert_eq!(up.ask(&["ledger", "allowance", "close", "--node", village.tower])["sequence"], 5);
    village.wait_for_states(&["applied"; 5]);
    assert_eq!(
        (village.balance("communities"), village.allowance(&device)["state"].clone()),
        ("35.00".into(), "closed".into())
    );
    village.check();
    let hub = ["ledger", "outbox", "--node", "hub-africa"];
    assert_refused(&covenant(folder.path(), &hub), 6, &["only towers have", "nothing was signed"]);
}

#[test]
fn a_copy_of_a_tower_is_quarantined_and_a_person_decides() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (tower, up) = ("tower-kandy", Up::start(folder.path()));
    let outbox = folder.path().join(tower).join("ledger/outbox");
    let device = Village { up: &up, tower }.fund("f1");
    let copy = std::fs::read(&outbox).unwrap();
    Village { up: &up, tower }.intend("1", "10.00");
    Village { up: &up, tower }.wait_for_states(&["applied"]);
    up.signal("-TERM");
    assert_eq!(up.wait(), Some(0));

    // As a disk that was copied before it was used up: the same number says something else now.
    std::fs::write(&outbox, copy).unwrap();
    let up = Up::start(folder.path());
    let village = Village { up: &up, tower };
    assert_eq!(village.intend("2", "11.00")["sequence"], 1);
    village.wait_for_states(&["inbox"]);
    wait_for("the tower to hear that it is quarantined", || {
        (village.outbox()["allowance"] == "quarantined").then_some(())
    });
    let more = ["ledger", "intend", "--to", "nation:LKA", "--amount", "1.00", "--node", tower];
    assert_refused(&covenant(folder.path(), &more), 6, &["is quarantined", "nothing was signed"]);
    assert_eq!(
        (village.balance("nation:LKA"), village.allowance(&device)["in_inbox"].clone()),
        ("10.00".into(), 1.into())
    );
    village.check();

    let inbox = village.hub(&["inbox"]);
    let entry = &inbox["entries"][0];
    assert_eq!((&entry["sequence"], &entry["amount"]), (&1.into(), &"11.00".into()), "{inbox}");
    assert!(entry["why"].as_str().unwrap().contains("signed another intent"), "{inbox}");
    let number = entry["entry"].to_string();
    let resolve = |how: &str| {
        let decide = ["ledger", "inbox", "resolve", &number, how, "--reason", "both were handed out"];
        covenant(folder.path(), &[&decide[..], &["--node", "hub-africa"]].concat())
    };
    assert!(resolve("--book").status.success());
    assert_refused(&resolve("--reject"), 5, &["decided otherwise before"]);
    village.wait_for_states(&["applied"]);
    let reason = "the key is in two places";
    assert_eq!(village.hub(&["allowance", "write-off", &device, "--reason", reason])["returned"], "79.00");
    assert_eq!((village.balance("nation:LKA"), village.balance("communities")), ("21.00".into(), "79.00".into()));
    let allowance = village.allowance(&device);
    assert!(allowance["said"].as_str().unwrap().contains(reason) && allowance["in_inbox"] == 0, "{allowance}");
    village.check();
}
