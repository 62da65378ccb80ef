//! What a tower signed reaches the book once, whatever of the tower ends meanwhile.

use super::*;
use crate::{AllowanceOpened, IntentView, IntentWanted, OutboxView};

async fn outbox<T: Send + 'static>(
    system: &System,
    make: impl Fn(Reply<Result<T, LedgerError>>) -> OutboxMessage,
) -> Result<T, LedgerError> {
    let outbox: Ref<OutboxMessage> = system.lookup(&"/ledger/outbox".parse().unwrap()).unwrap();
    outbox.call(make, LONG).await.unwrap()
}

async fn shown(system: &System) -> OutboxView {
    outbox(system, |reply| OutboxMessage::Show { reply }).await.unwrap()
}

/// Looks until what is shown is as wanted.
async fn wait_for(system: &System, wanted: impl Fn(&OutboxView) -> bool) -> OutboxView {
    let looking = async {
        loop {
            let shown = shown(system).await;
            if wanted(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, looking).await.expect("it comes to that")
}

async fn intend(system: &System, id: u128, amount: &str) -> Result<IntentView, LedgerError> {
    let (to, amount) = ("nation:KEN".to_owned(), amount.to_owned());
    let wanted = IntentWanted { id: TransferId(id), to, amount, nation: None };
    outbox(system, |reply| OutboxMessage::Intend { wanted: wanted.clone(), reply }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tower_signed_is_booked_once_whatever_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let first = system(dir.path()).await;
    let unknown = intend(&first, 1, "5.00").await.unwrap_err();
    let OutboxView { key, device, .. } = shown(&first).await;
    assert!(unknown.message.contains(&key), "{unknown}");
    transfer(&first, 90, "treasury", "communities", "100.00").await.unwrap();
    let open = |reply| {
        let (from, amount) = ("communities".to_owned(), "20.00".to_owned());
        DeskMessage::Offline(OfflineMessage::Open { key: key.clone(), id: TransferId(91), from, amount, reply })
    };
    let opened: AllowanceOpened = ask(&first, open).await.unwrap();
    assert_eq!((&opened.device, opened.booked), (&device, true));
    wait_for(&first, |shown| shown.allowance.as_deref() == Some("open")).await;

    let path: ActorPath = "/ledger/outbox".parse().unwrap();
    for id in 1..=3u64 {
        let signed = intend(&first, id.into(), "5.00").await.unwrap();
        assert_eq!(signed.sequence, id);
        first.kill(&path).await.unwrap();
    }
    first.stop(LONG).await;
    let second = system(dir.path()).await;
    assert_eq!(intend(&second, 2, "5.00").await.unwrap().sequence, 2, "an id is signed once in all boots");
    let all = wait_for(&second, |shown| shown.intents.iter().all(|intent| intent.state == "applied")).await;
    assert_eq!((all.intents.len(), all.device), (3, device.clone()));
    let short = intend(&second, 4, "5.01").await.unwrap_err();
    assert!(short.message.contains("5.01 is more than the 5.00"), "{short}");
    let list = |reply| {
        let from = Some(device.clone());
        DeskMessage::Offline(OfflineMessage::Allowances { from, alone: true, stale: false, reply })
    };
    let list = ask(&second, list).await.unwrap();
    assert_eq!((list.allowances[0].left.as_str(), list.allowances[0].next), ("5.00", 4));
    let check: CheckDone = ask(&second, |reply| DeskMessage::Check { reply }).await.unwrap();
    assert!(check.ok && check.sum == "0.00", "{check:?}");
    second.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_damaged_signs_nothing_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger/outbox");
    let first = system(dir.path()).await;
    shown(&first).await;
    first.stop(LONG).await;
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let config = config(dir.path());
    let store = super::super::outbox::Store { config: Arc::new(config), env: Env::for_test(1) };
    let refused = store.change(|_| Ok(())).await.unwrap_err();
    assert!(refused.message.contains("move it away") && refused.message.contains("written off"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is kept as it was");
}
