//! Nodes of a cluster and one ledger: every desk brings requests to whoever keeps the book, and says so when it cannot.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use covenant_cluster::MemberState;
use covenant_ledger::{
    AssessmentDone, Balances, CheckDone, DeskMessage, DistributionDone, ExportForm, ExportPage, LedgerErrorKind,
    LedgerStatus, TransferDone, VotersChange, VotersDone,
};
use covenant_types::TransferId;
use support::{HOME, Identity, Node};

async fn transfer(node: &Node, id: u128) -> Result<TransferDone, covenant_ledger::LedgerError> {
    let (from, to, amount) = ("treasury".to_owned(), "communities".to_owned(), "1.00".to_owned());
    node.ask(|reply| DeskMessage::Transfer { id: TransferId(id), from, to, amount, nation: None, reply }).await
}

async fn check(node: &Node) -> CheckDone {
    node.ask(|reply| DeskMessage::Check { reply }).await.unwrap()
}

async fn change(node: &Node, change: VotersChange) -> VotersDone {
    node.ask(|reply| DeskMessage::Voters { change, reply }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_books_in_the_one_book_and_every_id_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Identity::new(HOME).boot(dir.path(), &[]).await;
    let tower = Identity::new("tower-1").boot(dir.path(), &[hub.address()]).await;
    tower.until(HOME, MemberState::Reachable).await;

    let done: AssessmentDone = tower.ask(|reply| DeskMessage::Assess { year: 2024, reply }).await.unwrap();
    assert_eq!((done.payers, done.booked, done.pool.as_str()), (194, 194, "10953934201.60"));
    let again: AssessmentDone = hub.ask(|reply| DeskMessage::Assess { year: 2024, reply }).await.unwrap();
    assert_eq!(again, AssessmentDone { booked: 0, ..done });

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
        let page: ExportPage =
            tower.ask(|reply| DeskMessage::Export { from: start, form: ExportForm::Hledger, reply }).await.unwrap();
        journal.push_str(&page.text);
        from = page.next;
    }
    assert!(journal.contains("(0) assessment 2024") && journal.contains("(194) distribution"));
    let checked = check(&tower).await;
    assert!(checked.ok && checked.sum == "0.00" && checked.entries > 194, "{checked:?}");
    assert!(!dir.path().join("tower-1/ledger").exists(), "towers keep no book");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_book_is_away_nothing_is_booked_and_who_keeps_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = Identity::new(HOME);
    let hub = identity.boot(dir.path(), &[]).await;
    let tower = Identity::new("tower-1").boot(dir.path(), &[hub.address()]).await;
    tower.until(HOME, MemberState::Reachable).await;
    assert!(transfer(&tower, 1).await.unwrap().booked);

    hub.kill().await;
    tower.until(HOME, MemberState::Down).await;
    let error = transfer(&tower, 2).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Unreachable);
    assert!(error.message.contains("the book cannot be reached (hub-africa): nothing was booked"), "{error}");

    let hub = identity.boot(dir.path(), &[tower.address()]).await;
    tower.until(HOME, MemberState::Reachable).await;
    assert!(transfer(&tower, 2).await.unwrap().booked, "what was refused was not booked, and books now");
    assert!(!transfer(&tower, 1).await.unwrap().booked, "what was acknowledged is there");
    let checked = check(&hub).await;
    assert_eq!((checked.ok, checked.entries), (true, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_go_on_without_any_one_of_them_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Identity::new(HOME);
    let one = first.boot(dir.path(), &[]).await;
    let seeds = [one.address()];
    let two = Identity::new("hub-asia").boot(dir.path(), &seeds).await;
    let three = Identity::new("hub-europe").boot(dir.path(), &seeds).await;
    for (node, others) in
        [(&one, ["hub-asia", "hub-europe"]), (&two, [HOME, "hub-europe"]), (&three, [HOME, "hub-asia"])]
    {
        for other in others {
            node.until(other, MemberState::Reachable).await;
        }
    }
    assert!(transfer(&two, 1).await.unwrap().booked);
    let two_of = change(&two, VotersChange::Add("hub-asia".parse().unwrap())).await;
    assert_eq!(two_of.voters.len(), 2);
    assert!(two_of.warning.is_some(), "two bear the loss of none");
    let all = change(&three, VotersChange::Add("hub-europe".parse().unwrap())).await;
    assert_eq!((all.voters.len(), all.warning), (3, None));

    // Whichever leads: the first hub does not come back for a while.
    one.kill().await;
    for id in 2..12 {
        assert!(transfer(&three, id).await.unwrap().booked, "{id}");
    }
    let checked = check(&two).await;
    assert_eq!((checked.ok, checked.entries), (true, 11));
    let status: LedgerStatus = three.ask(|reply| DeskMessage::Status { reply }).await.unwrap();
    assert!(status.leader.is_some_and(|leader| leader.as_str() != HOME));

    let one = first.boot(dir.path(), &[two.address(), three.address()]).await;
    one.until("hub-asia", MemberState::Reachable).await;
    assert!(!transfer(&one, 5).await.unwrap().booked, "it knows what was booked without it");
    let fresh: Balances = one.ask(|reply| DeskMessage::Balances { from: None, stale: false, reply }).await.unwrap();
    assert!(fresh.as_of.linearizable);
    let held = fresh.accounts.iter().find(|account| account.account == "communities").unwrap();
    assert_eq!(held.balance, "11.00");
    let left = change(&two, VotersChange::Remove("hub-europe".parse().unwrap())).await;
    assert_eq!(left.voters.len(), 2);
    let stranger = VotersChange::Add("hub-nowhere".parse().unwrap());
    let refused = two.ask(|reply| DeskMessage::Voters { change: stranger, reply }).await.unwrap_err();
    assert_eq!(refused.kind, LedgerErrorKind::BadRequest);
}
