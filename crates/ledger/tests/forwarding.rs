//! Two nodes, one book: the other node's desk brings requests to it, and says so when it cannot.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use covenant_cluster::MemberState;
use covenant_ledger::{
    AssessmentDone, CheckDone, DeskMessage, DistributionDone, ExportPage, LedgerErrorKind, TransferDone,
};
use covenant_types::{NodeName, TransferId};
use support::{HOME, Identity, Node};

async fn transfer(node: &Node, id: u128) -> Result<TransferDone, covenant_ledger::LedgerError> {
    let (from, to, amount) = ("treasury".to_owned(), "communities".to_owned(), "1.00".to_owned());
    node.ask(|reply| DeskMessage::Transfer { id: TransferId(id), from, to, amount, reply }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_books_in_the_one_book_and_every_id_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Identity::new(HOME).boot(dir.path(), &[]).await;
    let tower = Identity::new("tower-1").boot(dir.path(), &[hub.address()]).await;
    tower.until_home_is(MemberState::Reachable).await;

    let done: AssessmentDone = tower.ask(|reply| DeskMessage::Assess { year: 2024, reply }).await.unwrap();
    assert_eq!((done.payers, done.booked, done.pool.as_str()), (194, 194, "10953934201.60"));
    let again: AssessmentDone = hub.ask(|reply| DeskMessage::Assess { year: 2024, reply }).await.unwrap();
    assert_eq!(again.booked, 0);

    let share = |amount: &str| {
        let amount = amount.to_owned();
        |reply| DeskMessage::Distribute { amount, id: TransferId(1), reply }
    };
    let done: DistributionDone = tower.ask(share("1000000.01")).await.unwrap();
    assert_eq!((done.sum.as_str(), done.booked), ("1000000.01", true));
    let again: DistributionDone = hub.ask(share("1000000.01")).await.unwrap();
    assert_eq!(again, DistributionDone { booked: false, ..done });
    assert_eq!(tower.ask(share("1.00")).await.unwrap_err().kind, LedgerErrorKind::Conflict);

    let (mut from, mut journal) = (Some(0), String::new());
    while let Some(start) = from {
        let page: ExportPage = tower.ask(|reply| DeskMessage::Export { from: start, reply }).await.unwrap();
        journal.push_str(&page.text);
        from = page.next;
    }
    assert!(journal.contains("(0) assessment 2024") && journal.contains("(194) distribution"));
    let check: CheckDone = tower.ask(|reply| DeskMessage::Check { reply }).await.unwrap();
    assert_eq!((check.ok, check.entries), (true, 195));
    assert!(!dir.path().join("tower-1/ledger/book.redb").exists(), "there is one book");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_book_is_away_nothing_is_booked_and_its_home_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = Identity::new(HOME);
    let hub = identity.boot(dir.path(), &[]).await;
    let tower = Identity::new("tower-1").boot(dir.path(), &[hub.address()]).await;
    tower.until_home_is(MemberState::Reachable).await;
    assert!(transfer(&tower, 1).await.unwrap().booked);

    hub.kill().await;
    tower.until_home_is(MemberState::Down).await;
    let error = transfer(&tower, 2).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Unreachable { home: NodeName::new(HOME).unwrap() });
    assert!(error.message.contains("the book lives on hub-africa, which cannot be reached: nothing was booked"));

    let hub = identity.boot(dir.path(), &[tower.address()]).await;
    tower.until_home_is(MemberState::Reachable).await;
    assert!(transfer(&tower, 2).await.unwrap().booked, "what was refused was not booked, and books now");
    assert!(!transfer(&tower, 1).await.unwrap().booked, "what was acknowledged is there");
    let check: CheckDone = hub.ask(|reply| DeskMessage::Check { reply }).await.unwrap();
    assert_eq!((check.ok, check.entries), (true, 2));
}
