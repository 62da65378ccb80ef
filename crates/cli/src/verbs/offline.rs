//! `covenant ledger allowance`, `intend`, `outbox` and `inbox`: money where nobody hears.

use covenant_ledger::{
    AllowanceList, AllowanceOpened, Inbox, IntentView, IntentWanted, OutboxView, Resolved, WrittenOff,
};
use covenant_node::api::{ApiError, OpenAllowance, Resolve, WriteOff};

use super::ledger::{freshness, random_id};
use crate::args::{AllowanceVerb, InboxVerb};
use crate::client::Client;
use crate::output::{Output, Tone};

pub(super) async fn allowance(client: &Client, verb: AllowanceVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        AllowanceVerb::Open { device, from, amount, id } => {
            let id = id.unwrap_or_else(random_id);
            output.talk(&format!("id {id}: give it again with --id to be sure that this books once"));
            let order = OpenAllowance { device, id, from, amount };
            let done: AllowanceOpened = client.post("/v1/ledger/allowances", &order).await?;
            output.view(&done, |_| {
                let state = if done.booked { "booked" } else { "was booked before" };
                format!("{state} as number {}: the device {} may spend it", done.number, done.device)
            });
        }
        AllowanceVerb::Status { device } => {
            let list = match device {
                Some(device) => client.get(&format!("/v1/ledger/allowances?device={device}")).await?,
                None => allowances(client).await?,
            };
            output.view(&list, |output| {
                let row = |allowance: &covenant_ledger::AllowanceView| {
                    let tone = if allowance.state == "quarantined" { Tone::Bad } else { Tone::Plain };
                    let said = allowance.said.as_ref().map_or_else(String::new, |said| format!(": {said}"));
                    vec![
                        (Tone::Plain, allowance.device.clone()),
                        (Tone::Plain, allowance.left.clone()),
                        (Tone::Plain, allowance.next.to_string()),
                        (Tone::Plain, allowance.waiting.to_string()),
                        (Tone::Plain, allowance.in_inbox.to_string()),
                        (tone, format!("{}{said}", allowance.state)),
                    ]
                };
                let rows: Vec<_> = list.allowances.iter().map(row).collect();
                let table = output.table(&["DEVICE", "LEFT", "NEXT", "WAITING", "IN INBOX", "STATE"], &rows);
                format!("{table}\n{}", freshness(&list.as_of))
            });
        }
        AllowanceVerb::Close => {
            let signed: IntentView = client.post("/v1/ledger/outbox/close", &serde_json::json!({})).await?;
            output.view(&signed, |_| {
                format!(
                    "signed as number {}: the allowance ends when the book has this and all before it; see `ledger outbox`",
                    signed.sequence
                )
            });
        }
        AllowanceVerb::WriteOff { device, reason } => {
            let order = WriteOff { device, reason };
            let done: WrittenOff = client.post("/v1/ledger/allowances/write-off", &order).await?;
            output.view(&done, |_| {
                let state = if done.booked { "written off" } else { "was written off before" };
                format!("{state}: ${} went back; what still comes goes to the inbox", done.returned)
            });
        }
    }
    Ok(())
}

/// All pages of the allowances.
async fn allowances(client: &Client) -> Result<AllowanceList, ApiError> {
    let mut all: AllowanceList = client.get("/v1/ledger/allowances").await?;
    while let Some(from) = all.next.take() {
        let page: AllowanceList = client.get(&format!("/v1/ledger/allowances?from={from}")).await?;
        all.allowances.extend(page.allowances);
        (all.next, all.as_of) = (page.next, page.as_of);
    }
    Ok(all)
}

pub(super) async fn intend(client: &Client, wanted: IntentWanted, output: &Output) -> Result<(), ApiError> {
    let signed: IntentView = client.post("/v1/ledger/outbox", &wanted).await?;
    output.view(&signed, |_| match signed.state.as_str() {
        "accepted" => format!(
            "accepted for delivery as number {}, and not booked: `ledger outbox` shows what becomes of it",
            signed.sequence
        ),
        state => format!("was signed before as number {}: {}", signed.sequence, with_said(state, signed.said.as_ref())),
    });
    Ok(())
}

pub(super) async fn outbox(client: &Client, output: &Output) -> Result<(), ApiError> {
    let outbox: OutboxView = client.get("/v1/ledger/outbox").await?;
    output.view(&outbox, |output| {
        let known = match (&outbox.allowance, &outbox.available) {
            (Some(state), Some(available)) => format!("{state} when last heard of, ${available} left to sign for"),
            (None, _) | (_, None) => "none was heard of yet".to_owned(),
        };
        let row = |intent: &IntentView| {
            let tone = match intent.state.as_str() {
                "applied" => Tone::Good,
                "rejected" => Tone::Bad,
                "inbox" | "waiting" => Tone::Warn,
                _ => Tone::Plain,
            };
            vec![
                (Tone::Plain, intent.sequence.to_string()),
                (Tone::Plain, intent.to.clone().unwrap_or_else(|| "closes the allowance".to_owned())),
                (Tone::Plain, intent.amount.clone().unwrap_or_default()),
                (tone, with_said(&intent.state, intent.said.as_ref())),
            ]
        };
        let rows: Vec<_> = outbox.intents.iter().map(row).collect();
        let table = output.table(&["NUMBER", "TO", "AMOUNT", "STATE"], &rows);
        let head = format!("device {}\nkey {}\nallowance: {known}", outbox.device, outbox.key);
        match &outbox.trouble {
            Some(trouble) => {
                format!("{head}\n{table}\n{}", output.paint(Tone::Warn, &format!("not delivered: {trouble}")))
            }
            None => format!("{head}\n{table}"),
        }
    });
    Ok(())
}

fn with_said(state: &str, said: Option<&String>) -> String {
    said.map_or_else(|| state.to_owned(), |said| format!("{state}: {said}"))
}

pub(super) async fn inbox(client: &Client, verb: Option<InboxVerb>, output: &Output) -> Result<(), ApiError> {
    if let Some(InboxVerb::Resolve { entry, book, reject: _, reason }) = verb {
        let done: Resolved = client.post("/v1/ledger/inbox/resolve", &Resolve { entry, book, reason }).await?;
        output.view(&done, |_| {
            let before = if done.again { "was decided alike before: " } else { "" };
            match done.number {
                Some(number) => format!("{before}booked as number {number}"),
                None => format!("{before}rejected"),
            }
        });
        return Ok(());
    }
    let mut all: Inbox = client.get("/v1/ledger/inbox").await?;
    while let Some(from) = all.next.take() {
        let page: Inbox = client.get(&format!("/v1/ledger/inbox?from={from}")).await?;
        all.entries.extend(page.entries);
        (all.next, all.as_of) = (page.next, page.as_of);
    }
    output.view(&all, |output| {
        let row = |entry: &covenant_ledger::InboxView| {
            vec![
                (Tone::Plain, entry.entry.to_string()),
                (Tone::Plain, format!("{} of {}", entry.sequence, entry.device)),
                (Tone::Plain, entry.to.clone().unwrap_or_else(|| "closes the allowance".to_owned())),
                (Tone::Plain, entry.amount.clone().unwrap_or_default()),
                (Tone::Warn, entry.why.clone()),
            ]
        };
        let rows: Vec<_> = all.entries.iter().map(row).collect();
        let table = output.table(&["ENTRY", "INTENT", "TO", "AMOUNT", "WHY"], &rows);
        format!("{table}\n{}", freshness(&all.as_of))
    });
    Ok(())
}
