//! `covenant ledger`: the covenant's money.

use covenant_ledger::{AssessmentDone, Balances, CheckDone, DistributionDone, ExportPage, TransferDone};
use covenant_node::api::{ApiError, Assess, Distribute, Transfer};
use covenant_types::TransferId;

use crate::args::{ExportFormat, Global, LedgerVerb};
use crate::output::{Output, Tone};

/// Does one verb of the ledger.
pub(crate) async fn run(global: &Global, verb: LedgerVerb, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    match verb {
        LedgerVerb::Assess { year } => {
            let done: AssessmentDone = client.post("/v1/ledger/assess", &Assess { year }).await?;
            output.view(&done, |_| {
                let unknown = if done.unknown.is_empty() { "none".to_owned() } else { done.unknown.join(", ") };
                format!(
                    "{year}: {} nations owe ${} together; without a figure: {unknown}; newly booked: {}",
                    done.payers, done.pool, done.booked
                )
            });
        }
        LedgerVerb::Distribute { amount, id } => {
            let id = id.unwrap_or_else(random_id);
            output.talk(&format!("id {id}: give it again with --id to be sure that this books once"));
            let done: DistributionDone = client.post("/v1/ledger/distribute", &Distribute { amount, id }).await?;
            output.view(&done, |_| {
                let state = if done.booked { "booked" } else { "was booked before" };
                format!(
                    "{state}: ${} = communities ${} + nations ${} + reserve ${}",
                    done.sum, done.communities, done.nations, done.reserve
                )
            });
        }
        LedgerVerb::Transfer { from, to, amount, id } => {
            let id = id.unwrap_or_else(random_id);
            output.talk(&format!("id {id}: give it again with --id to be sure that this books once"));
            let done: TransferDone = client.post("/v1/ledger/transfer", &Transfer { id, from, to, amount }).await?;
            output.view(&done, |_| if done.booked { "booked".to_owned() } else { "was booked before".to_owned() });
        }
        LedgerVerb::Balances => {
            let balances: Balances = client.get("/v1/ledger/balances").await?;
            output.view(&balances, |output| {
                let row = |account: &covenant_ledger::AccountBalance| {
                    vec![(Tone::Plain, account.account.clone()), (Tone::Plain, format!("{:>20}", account.balance))]
                };
                let rows: Vec<_> = balances.accounts.iter().map(row).collect();
                output.table(&["ACCOUNT", "             BALANCE"], &rows)
            });
        }
        LedgerVerb::Check => {
            let check: CheckDone = client.get("/v1/ledger/check").await?;
            output.view(&check, |output| {
                let said = format!("{} entries, sum {}", check.entries, check.sum);
                match check.ok {
                    true => output.paint(Tone::Good, &format!("the book holds: {said}")),
                    false => output
                        .paint(Tone::Bad, &format!("the book does NOT hold: {said}: {}", check.problems.join("; "))),
                }
            });
            if !check.ok {
                return Err(ApiError::failure("the book does not hold; stop booking and keep the files"));
            }
        }
        LedgerVerb::Export { format: ExportFormat::Hledger } => {
            let (mut from, mut whole) = (Some(0), String::new());
            while let Some(start) = from {
                let page: ExportPage = client.get(&format!("/v1/ledger/export?from={start}")).await?;
                from = page.next;
                if output.json() {
                    whole.push_str(&page.text);
                } else {
                    output.data(page.text.trim_end_matches('\n'));
                }
            }
            if output.json() {
                output.view(&serde_json::json!({ "format": "hledger", "journal": whole }), |_| String::new());
            }
        }
    }
    Ok(())
}

fn random_id() -> TransferId {
    TransferId((u128::from(covenant_node::entropy()) << 64) | u128::from(covenant_node::entropy()))
}
