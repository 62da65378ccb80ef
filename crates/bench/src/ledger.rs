//! Transfers that are answered after the fsync, beside fsynced appends to a plain file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_consensus::{Groups, Sender};
use covenant_ledger::{DeskMessage, LedgerConfig, Place as Alone};
use covenant_runtime::{BehaviourRegistry, Ref, Resources};
use covenant_types::{NodeId, NodeName, Role, TransferId};
use futures_util::future::try_join_all;

use crate::Failure;
use crate::disk::{Place, synced_records};
use crate::nodes::{AMPLE, Files, Host, start_tree};
use crate::report::{Outcome, Row, Unit};
use crate::stats::rate;

const ROUNDS: usize = 15;
/// Short, so that a disk whose speed wanders is alike for all.
const ROUND: Duration = Duration::from_millis(300);
const CLIENTS: u64 = 64;
/// About the length of an entry.
const RECORD: [u8; 128] = [7; 128];
const TREE: Files = &[("root", "[[child]]\nid = \"ledger\"\ntree = \"ledger\"\n"), ("ledger", BOOK_AND_DESK)];
const BOOK_AND_DESK: &str = r#"
[[child]]
id = "book"
behaviour = "ledger.book"

[[child]]
id = "desk"
behaviour = "ledger.desk"
"#;

pub(crate) fn run() -> Result<Outcome, Failure> {
    let host = Host::new(1)?;
    let scratch = tempfile::tempdir()?;
    let (node, me) = (NodeId([1; 16]), NodeName::new("hub")?);
    let folder = scratch.path().join("ledger");
    LedgerConfig::let_begin(&folder)?;
    // One voter that is alone: what three of them cost is `just bench-ledger`'s.
    let groups = Groups::new(host.env.clone(), Arc::new(|_| None));
    let alone = Alone { node, name: me.clone(), reachable: true };
    let sender = Sender { node, role: Role::Hub };
    let mut resources = Resources::new();
    resources.insert(Arc::new(LedgerConfig::new(sender, me, folder, groups, Arc::new(alone))));
    let mut registry = BehaviourRegistry::new();
    covenant_ledger::register(&mut registry);
    let system = start_tree(&host, TREE, registry, resources)?;
    let desk = system.lookup::<DeskMessage>(&"/ledger/desk".parse()?)?;
    let (mut one, mut many, mut appends, mut writes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let number = u64::try_from(round)?;
        let alone = host.on_work(clients(desk.clone(), number * 2, 1))?;
        let together = host.on_work(clients(desk.clone(), number * 2 + 1, CLIENTS))?;
        let appended = synced_records(scratch.path(), Place::End, &RECORD, ROUND / 2)?;
        let written = synced_records(scratch.path(), Place::Start, &RECORD, ROUND / 2)?;
        if round > 0 {
            one.push(rate(alone.0, alone.1));
            many.push(rate(together.0, together.1));
            appends.push(rate(appended.0, appended.1));
            writes.push(rate(written.0, written.1));
        }
    }
    host.on_work(async move { Ok(system.stop(AMPLE).await) })?;
    host.close();
    let (append, write) = ("plain file, append + fsync", "plain file, overwrite + fsync");
    let many_clients = format!("transfers, {CLIENTS} clients");
    let rows = vec![
        Row::new("transfers, one client", Unit::PerSecond, one.clone()).beside(append, appends.clone()),
        Row::new("transfers, one client", Unit::PerSecond, one).beside(write, writes.clone()),
        Row::new(many_clients.clone(), Unit::PerSecond, many.clone()).beside(append, appends),
        Row::new(many_clients, Unit::PerSecond, many).beside(write, writes),
    ];
    let notes = vec![format!(
        "{ROUNDS} rounds of {} s each through desk and book; every transfer is answered after its fsync; the book's file seldom grows, so that overwriting is its fair peer; a plain record has {} B",
        ROUND.as_secs_f64(),
        RECORD.len()
    )];
    Ok(Outcome { rows, notes })
}

/// How many transfers `count` clients got answered, each one after another, and how long it took.
async fn clients(desk: Ref<DeskMessage>, round: u64, count: u64) -> Result<(u64, Duration), Failure> {
    let began = Instant::now();
    let clients = (0..count).map(|client| transfers(desk.clone(), (round << 32) | client, began + ROUND));
    let done: u64 = try_join_all(clients).await?.into_iter().sum();
    Ok((done, began.elapsed()))
}

async fn transfers(desk: Ref<DeskMessage>, client: u64, until: Instant) -> Result<u64, Failure> {
    let mut done = 0;
    while Instant::now() < until {
        let id = TransferId((u128::from(client) << 64) | u128::from(done + 1));
        let (from, to, amount) = ("treasury".to_owned(), "communities".to_owned(), "1.25".to_owned());
        let answer =
            desk.call(|reply| DeskMessage::Transfer { id, from, to, amount, nation: None, reply }, AMPLE).await?;
        if !answer.map_err(|error| error.message)?.booked {
            return Err("a transfer with a new id was known already".into());
        }
        done += 1;
    }
    Ok(done)
}
