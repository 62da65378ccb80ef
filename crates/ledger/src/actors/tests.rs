mod outbox;

use std::sync::Arc;
use std::time::Duration;

use covenant_consensus::{Groups, Sender};
use covenant_env::Env;
use covenant_runtime::{Ref, Reply, Resources, System, SystemConfig};
use covenant_supervision::{TreeSource, TreeSourceError, load_tree};
use covenant_types::{ActorPath, NodeId, NodeName, Role, TransferId};

use super::*;
use crate::{
    AssessmentDone, CheckDone, DistributionDone, ExportForm, LedgerError, LedgerErrorKind, LedgerStatus, Nations,
    Place, Step, TransferDone, order,
};

struct Files;

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        let child = |id: &str| format!("[[child]]\nid = \"{id}\"\nbehaviour = \"ledger.{id}\"\n");
        match name {
            "root" => Ok("[[child]]\nid = \"ledger\"\ntree = \"ledger\"\n".to_owned()),
            "ledger" => {
                let children = ["book", "log", "desk", "outbox"].map(child).concat();
                Ok(format!(
                    "intensity = 100
{children}"
                ))
            }
            _ => Err(TreeSourceError::NotFound),
        }
    }
}

async fn system(dir: &std::path::Path) -> System {
    system_with(config(dir)).await
}

fn config(dir: &std::path::Path) -> LedgerConfig {
    let (node, name) = (NodeId([1; 16]), NodeName::new("hub").unwrap());
    let folder = dir.join("ledger");
    if !folder.exists() {
        LedgerConfig::let_begin(&folder).unwrap();
    }
    let alone = Place { node, name: name.clone(), reachable: true };
    let groups = Groups::new(Env::for_test(1), Arc::new(|_| None));
    LedgerConfig::new(Sender { node, role: Role::Hub }, name, folder, groups, Arc::new(alone))
}

async fn system_with(config: LedgerConfig) -> System {
    let mut resources = Resources::new();
    resources.insert(Arc::new(config));
    let mut registry = BehaviourRegistry::new();
    register(&mut registry);
    let tree = load_tree("root", &Files).unwrap();
    System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources }).await.unwrap()
}

const LONG: Duration = Duration::from_secs(30);

async fn ask<T: Send + 'static>(
    system: &System,
    make: impl FnOnce(Reply<Result<T, LedgerError>>) -> DeskMessage,
) -> Result<T, LedgerError> {
    let desk: Ref<DeskMessage> = system.lookup(&"/ledger/desk".parse().unwrap()).unwrap();
    desk.call(make, LONG).await.unwrap()
}

async fn transfer(system: &System, id: u128, from: &str, to: &str, amount: &str) -> Result<bool, LedgerError> {
    let (from, to, amount) = (from.to_owned(), to.to_owned(), amount.to_owned());
    ask(system, |reply| DeskMessage::Transfer { id: TransferId(id), from, to, amount, nation: None, reply })
        .await
        .map(|done: TransferDone| done.booked)
}

async fn distribute(system: &System, id: u128, amount: &str) -> Result<DistributionDone, LedgerError> {
    let amount = amount.to_owned();
    ask(system, |reply| DeskMessage::Distribute { amount, id: TransferId(id), reply }).await
}

async fn assess(system: &System, year: u16) -> Result<AssessmentDone, LedgerError> {
    ask(system, |reply| DeskMessage::Assess { year, reply }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn assessing_and_distributing_twice_books_once() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let done = assess(&system, 2024).await.unwrap();
    assert_eq!((done.payers, done.booked, done.pool.as_str()), (194, 194, "10953934201.60"));
    assert_eq!(done.unknown, ["Holy See"]);
    assert_eq!(assess(&system, 2024).await.unwrap(), AssessmentDone { booked: 0, ..done });

    let done = distribute(&system, 1, "1000000.01").await.unwrap();
    let parts = (done.sum.as_str(), done.communities.as_str(), done.nations.as_str(), done.reserve.as_str());
    assert_eq!(parts, ("1000000.01", "500000.01", "300000.00", "200000.00"));
    assert_eq!(distribute(&system, 1, "1000000.01").await.unwrap(), DistributionDone { booked: false, ..done });
    assert_eq!(distribute(&system, 1, "1000000.02").await.unwrap_err().kind, LedgerErrorKind::Conflict);

    let check: CheckDone = ask(&system, |reply| DeskMessage::Check { reply }).await.unwrap();
    assert!(check.ok && check.sum == "0.00" && check.entries > 195 && check.problems.is_empty(), "{check:?}");
    let balances = ask(&system, |reply| DeskMessage::Balances { from: None, stale: false, reply }).await.unwrap();
    let of = |name: &str| balances.accounts.iter().find(|account| account.account == name).unwrap().balance.clone();
    assert_eq!(
        (of("pool"), of("reserve"), of("treasury")),
        ("10953934201.60".to_owned(), "200000.00".to_owned(), "-1000000.01".to_owned())
    );
    system.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_book_loses_nothing_and_a_new_boot_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = system(dir.path()).await;
    let book: ActorPath = "/ledger/book".parse().unwrap();
    for id in 1..=10 {
        assert_eq!(transfer(&first, id, "treasury", "communities", "1.00").await, Ok(true));
        first.kill(&book).await.unwrap();
        // The kill may take a request with it. A client sends it again, and it is still booked once.
        let again = match transfer(&first, id, "treasury", "communities", "1.00").await {
            Err(error) if error.kind == LedgerErrorKind::Timeout => {
                transfer(&first, id, "treasury", "communities", "1.00").await
            }
            answered => answered,
        };
        assert_eq!(again, Ok(false));
    }
    first.stop(LONG).await;
    drop(first);
    let second = system(dir.path()).await;
    let status: LedgerStatus = ask(&second, |reply| DeskMessage::Status { reply }).await.unwrap();
    assert_eq!(status.entries, 10);
    let leader = status.leader.as_ref().map(NodeName::as_str);
    assert_eq!((leader, status.voters.len()), (Some("hub"), 1));
    second.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_and_book_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let mut errors = vec![
        assess(&system, 1).await.unwrap_err(),
        distribute(&system, 1, "-5.00").await.unwrap_err(),
        distribute(&system, 1, "0.00").await.unwrap_err(),
    ];
    for (from, to, amount) in [
        ("treasury", "treasury", "1.00"),
        ("profit", "communities", "1.00"),
        ("treasury", "nation:XXX", "1.00"),
        ("treasury", "communities", "1.001"),
        ("treasury", "communities", "0.00"),
        ("communities", "treasury", "1.00"),
    ] {
        errors.push(transfer(&system, 1, from, to, amount).await.unwrap_err());
    }
    for error in &errors {
        assert!(error.message.contains("nothing was booked"), "{error}");
    }
    assert_eq!(errors.pop().unwrap().kind, LedgerErrorKind::Refused, "communities have nothing yet");
    assert!(errors.iter().all(|error| error.kind == LedgerErrorKind::BadRequest));
    let status: LedgerStatus = ask(&system, |reply| DeskMessage::Status { reply }).await.unwrap();
    assert_eq!(status.entries, 0);
    system.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_share_commits_and_every_id_books_once() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let clients = (0..32u128).map(|client| {
        let system = &system;
        async move {
            let mut fresh = 0;
            for number in 0..8 {
                // Two clients send every id.
                let id = 1 + (client / 2) * 8 + number;
                let done = transfer(system, id, "treasury", "communities", "1.00").await.unwrap();
                fresh += u32::from(done);
            }
            fresh
        }
    });
    let fresh: u32 = futures_util::future::join_all(clients).await.into_iter().sum();
    assert_eq!(fresh, 128);
    system.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_of_nations_can_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let mine =
        "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\nKE,KEN,Kenya,africa,low,1,104001000000,2022\n";
    let system = system_with(config(dir.path()).with_nations(Nations::parse(mine).unwrap())).await;
    let done = assess(&system, 2024).await.unwrap();
    assert_eq!((done.payers, done.pool.as_str()), (1, "10400100.00"));
    system.stop(LONG).await;
    drop(system);
    let later = self::system(dir.path()).await;
    assert_eq!(assess(&later, 2024).await.unwrap_err().kind, LedgerErrorKind::Refused, "a year is owed once");
    let check: CheckDone = ask(&later, |reply| DeskMessage::Check { reply }).await.unwrap();
    assert!(check.ok, "the table of that time is in the book: {:?}", check.problems);
    later.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_posted_voided_and_put_right_and_a_statement_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let step = |id: u128, step: Step| ask(&system, move |reply| DeskMessage::Step { id: TransferId(id), step, reply });
    let pend = |amount: &str, expires_after| Step::Pend {
        from: "treasury".to_owned(),
        to: "nation:KEN".to_owned(),
        amount: amount.to_owned(),
        nation: None,
        expires_after,
    };
    assert!(step(1, pend("10.00", None)).await.unwrap().booked);
    assert!(!step(1, pend("10.00", None)).await.unwrap().booked);
    assert_eq!(step(1, pend("11.00", None)).await.unwrap_err().kind, LedgerErrorKind::Conflict);
    assert_eq!(step(2, pend("1.00", Some(0))).await.unwrap_err().kind, LedgerErrorKind::BadRequest);
    let post = |amount: &str| Step::Post { pending: TransferId(1), amount: Some(amount.to_owned()) };
    assert!(step(3, post("4.00")).await.unwrap().booked);
    assert_eq!(step(4, Step::Void { pending: TransferId(1) }).await.unwrap_err().kind, LedgerErrorKind::Refused);
    assert!(step(5, Step::Correct { of: TransferId(3), amount: None }).await.unwrap().booked);

    let statement = |account: &str| {
        let account = account.to_owned();
        ask(&system, move |reply| DeskMessage::Statement { account, from: 0, reply })
    };
    let told = statement("nation:KEN").await.unwrap();
    let lines: Vec<(&str, &str, &str)> =
        told.lines.iter().map(|line| (line.kind.as_str(), line.amount.as_str(), line.balance.as_str())).collect();
    let expected = [("pending", "10.00", "0.00"), ("pending-posted", "4.00", "4.00"), ("correction", "-4.00", "0.00")];
    assert_eq!(lines, expected);
    assert!(told.lines.iter().all(|line| line.other == "treasury") && told.next.is_none() && told.as_of.linearizable);
    assert_eq!(statement(&"ab".repeat(16)).await.unwrap_err().kind, LedgerErrorKind::BadRequest);
    assert_eq!(statement("no such").await.unwrap_err().kind, LedgerErrorKind::BadRequest);

    let table = ask(&system, |reply| DeskMessage::Export { from: 0, form: ExportForm::Csv, reply }).await.unwrap();
    let mut rows = csv::Reader::from_reader(table.text.as_bytes());
    assert_eq!(rows.headers().unwrap().len(), 13);
    let kinds: Vec<String> = rows.records().map(|row| row.unwrap()[4].to_owned()).collect();
    assert_eq!(kinds, ["pending", "pending-posted", "correction"]);
    system.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_free_again_by_itself_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let step = Step::Pend {
        from: "treasury".to_owned(),
        to: "nation:KEN".to_owned(),
        amount: "10.00".to_owned(),
        nation: None,
        expires_after: Some(1),
    };
    ask(&system, |reply| DeskMessage::Step { id: TransferId(1), step, reply }).await.unwrap();
    let ended = async {
        loop {
            let account = "nation:KEN".to_owned();
            let told = ask(&system, |reply| DeskMessage::Statement { account, from: 0, reply }).await.unwrap();
            if told.lines.len() == 2 {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(LONG, ended).await.unwrap();
    assert_eq!(told.lines[1].kind, "pending-expired");
    system.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_that_is_over_is_closed_for_ever_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let system = system(dir.path()).await;
    let year = order::period_of(Env::for_test(1).wall()).0;
    let close = |through| ask(&system, move |reply| DeskMessage::Close { through, reply });
    assert_eq!(close(year).await.unwrap_err().kind, LedgerErrorKind::Refused);
    assert_eq!(close(1).await.unwrap_err().kind, LedgerErrorKind::BadRequest);
    assert_eq!(close(year - 1).await.unwrap().through, year - 1);
    assert_eq!(close(year - 1).await.unwrap().through, year - 1);
    assert_eq!(close(year - 2).await.unwrap_err().kind, LedgerErrorKind::Refused);
    let refused = assess(&system, year - 1).await.unwrap_err();
    assert!(refused.kind == LedgerErrorKind::Refused && refused.message.contains("nothing was booked"), "{refused}");
    assert_eq!(assess(&system, year).await.unwrap().booked, 194);
    let report = ask(&system, |reply| DeskMessage::Report { year, reply }).await.unwrap();
    assert_eq!((report.nations.len(), report.sums.assessed.as_str()), (194, "10953934201.60"));
    system.stop(LONG).await;
}
