//! The public logs of three voters: each is cosigned by others, all tell the same, and one that was away catches up.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_ledger::{
    DeskMessage, LedgerKeys, Replay, ReplayError, Replayed, TransferDone, VotersChange, VotersDone, public_folder,
};
use covenant_tlog::{CHECKPOINT_FILE, Directory, LogFiles, NOTE_BYTES_MAX, Policy, Verified, VerifyError, verify};
use covenant_types::TransferId;
use support::{HOME, Identity, Node};

const ASIA: &str = "hub-asia";
const EUROPE: &str = "hub-europe";
/// Far beyond what it takes, so that only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn book(node: &Node, ids: std::ops::Range<u128>) {
    for id in ids {
        let (from, to, amount) = ("treasury".to_owned(), "communities".to_owned(), "1.00".to_owned());
        let ask = |reply| DeskMessage::Transfer { id: TransferId(id), from, to, amount, nation: None, reply };
        let done: TransferDone = node.ask(ask).await.unwrap();
        assert!(done.booked, "{id}");
    }
}

async fn vote(node: &Node, name: &str) {
    let change = VotersChange::Add(name.parse().unwrap());
    let _done: VotersDone = node.ask(|reply| DeskMessage::Voters { change, reply }).await.unwrap();
}

/// The keys, when all of so many voters say theirs.
async fn keys(node: &Node, voters: usize) -> LedgerKeys {
    until("all voters to say their keys", async || {
        let keys: LedgerKeys = node.ask(|reply| DeskMessage::Keys { reply }).await.unwrap();
        (keys.voters.len() == voters && keys.voters.iter().all(|voter| voter.log.is_some())).then_some(keys)
    })
    .await
}

async fn until<T>(what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(seen) = seen().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// Whom to believe of the log of this node.
fn policy(keys: &LedgerKeys, node: &str) -> Policy {
    let log = keys.voters.iter().find(|voter| voter.node.as_str() == node).unwrap().log.as_ref().unwrap();
    let others = keys.voters.iter().filter(|voter| voter.node.as_str() != node);
    let witnesses = others.map(|voter| voter.witness.as_ref().unwrap().parse().unwrap()).collect();
    Policy::new(log.parse().unwrap(), witnesses, keys.quorum).unwrap()
}

/// Waits until the log of a node has so many entries, published under `policy`, and verifies it and does it all again.
async fn verified(dir: &Path, node: &str, entries: u64, policy: &Policy) -> (Verified, Replayed) {
    let files = Directory::new(public_folder(&dir.join(node).join("ledger")));
    let long_enough = async || {
        let bytes = files.read(CHECKPOINT_FILE, NOTE_BYTES_MAX).unwrap()?;
        policy.open(&bytes).ok().filter(|head| head.size() == entries)
    };
    until(&format!("the log of {node} to have {entries} entries"), long_enough).await;
    let temp = tempfile::tempdir().unwrap();
    let mut replay = Replay::new(temp.path()).unwrap();
    let verified: Result<Verified, VerifyError<ReplayError>> =
        verify(&files, policy, &[], |index, entry| replay.entry(index, entry));
    (verified.unwrap(), replay.finish().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_publish_the_same_log_each_with_a_witness_and_one_that_was_away_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Identity::new(HOME);
    let one = first.boot(dir.path(), &[]).await;
    let two = Identity::new(ASIA).boot(dir.path(), &[one.address()]).await;
    let three = Identity::new(EUROPE).boot(dir.path(), &[one.address()]).await;
    for (node, others) in [(&one, [ASIA, EUROPE]), (&two, [HOME, EUROPE]), (&three, [HOME, ASIA])] {
        for other in others {
            node.until(other, MemberState::Reachable).await;
        }
    }
    // Alone it has no witnesses, and publishes.
    book(&one, 1..4).await;
    let alone = keys(&one, 1).await;
    assert_eq!(alone.quorum, 0);
    // The tables of nations and projects, and three transfers.
    let (head, before) = verified(dir.path(), HOME, 5, &policy(&alone, HOME)).await;
    assert!(head.head.cosigned().is_empty() && before.transfers == 3);

    vote(&two, ASIA).await;
    vote(&three, EUROPE).await;
    book(&two, 4..24).await;
    let all = keys(&three, 3).await;
    assert_eq!(all.quorum, 1);
    let entries = 5 + 20 + 2;
    let mut roots = Vec::new();
    for node in [HOME, ASIA, EUROPE] {
        let (head, replayed) = verified(dir.path(), node, entries, &policy(&all, node)).await;
        assert!(!head.head.cosigned().is_empty(), "{node}");
        roots.push((head.head.root(), replayed.state));
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{roots:?}");

    // Two of three go on, each the other's witness. Each desk brings its tables before it books.
    one.kill().await;
    book(&three, 24..34).await;
    for node in [ASIA, EUROPE] {
        let (head, _) = verified(dir.path(), node, entries + 12, &policy(&all, node)).await;
        assert_eq!(head.head.cosigned().len(), 1, "{node}");
    }
    // And the third catches up, under the key it had.
    let one = first.boot(dir.path(), &[two.address(), three.address()]).await;
    one.until(ASIA, MemberState::Reachable).await;
    let (caught_up, replayed) = verified(dir.path(), HOME, entries + 12, &policy(&all, HOME)).await;
    let (other, same) = verified(dir.path(), ASIA, entries + 12, &policy(&all, ASIA)).await;
    assert_eq!((caught_up.head.root(), replayed), (other.head.root(), same));
}
