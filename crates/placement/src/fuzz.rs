//! What arrives from other nodes or lies on the disk, for the fuzzer.

use std::time::Duration;

use covenant_types::{BootEpoch, Fence, NodeId, WallTime};

use crate::command::{Command, Holder, Outcome, Voters};
use crate::question::{self, Said};
use crate::table::Table;

/// A command of a node, what was answered to one, and a question: what is understood has one form.
///
/// # Panics
/// It has another one, or the answer to a question cannot be read.
pub fn fuzz_placement_command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        assert_eq!(command.encode(), bytes, "a command has one form");
        let mut table = Table::default();
        let _outcome = table.apply(1, WallTime(1), command.clone());
        let _again = table.apply(1, WallTime(1), command);
        assert_eq!(Table::decode(&table.encode()).as_ref(), Ok(&table), "a table is read as it was written");
    }
    if let Ok(outcome) = Outcome::decode(bytes) {
        assert_eq!(outcome.encode(), bytes, "an outcome has one form");
    }
    if let Ok(answer) = question::answer(&Table::default(), bytes) {
        assert!(serde_json::from_slice::<Said>(&answer).is_ok(), "an answer that nobody can read");
    }
}

/// What commands, outcomes and questions look like.
pub fn placement_command_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = commands().iter().map(Command::encode).collect();
    let by = NodeId([2; 16]);
    let held = Outcome::Held { by, span: Duration::from_secs(5) };
    seeds.extend([Outcome::Done, Outcome::Granted(9), held, Outcome::Full].iter().map(Outcome::encode));
    seeds.extend([br#"{"lease":"/x"}"#.to_vec(), br#"{"leases":"/"}"#.to_vec()]);
    seeds
}

/// A snapshot of the table.
///
/// # Panics
/// What is understood has another form.
pub fn fuzz_placement_table(bytes: &[u8]) {
    if let Ok(table) = Table::decode(bytes) {
        assert_eq!(table.encode(), bytes, "a table has one form");
    }
}

/// What a snapshot looks like.
pub fn placement_table_seeds() -> Vec<Vec<u8>> {
    let mut table = Table::default();
    let mut seeds = vec![table.encode()];
    for (id, command) in (1..).zip(commands()) {
        let _outcome = table.apply(id, WallTime(1_790_000_000), command);
        seeds.push(table.encode());
    }
    seeds.dedup();
    seeds
}

fn commands() -> Vec<Command> {
    let Ok(key) = "/name/printer".parse() else { return Vec::new() };
    let fence = Fence { key, token: 1 };
    let (key, holder, span) = (fence.key.clone(), NodeId([1; 16]), Duration::from_secs(5));
    let nodes = [NodeId([1; 16]), NodeId([2; 16])].into();
    vec![
        Command::Acquire { key: key.clone(), holder: Holder { node: holder, boot: BootEpoch(3) }, span },
        Command::Renew { fence: fence.clone(), holder, span },
        Command::Settle { fence: fence.clone(), holder, path: key },
        Command::Follow(Voters { term: 1, index: 4, nodes }),
        Command::Expire { fence: fence.clone(), renewals: 0 },
        Command::Release { fence, holder },
    ]
}
