//! `covenant ledger`: the covenant's money.

mod report;
mod statement;

use covenant_ledger::{
    AsOf, AssessmentDone, Balances, CheckDone, ClosedDone, DistributionDone, ExportPage, IntentWanted, LedgerKeys,
    LedgerStatus, Step, TransferDone, VotersDone,
};
use covenant_node::api::{ApiError, Assess, CloseBooks, Distribute, LedgerStep, Transfer, Voters};
use covenant_types::{NodeName, TransferId};

use super::{ledger_verify, offline};
use crate::args::{ExportFormat, Global, LedgerVerb, VotersVerb};
use crate::client::Client;
use crate::output::{Output, Tone};

/// Does one verb of the ledger.
pub(crate) async fn run(global: &Global, verb: LedgerVerb, output: &Output) -> Result<(), ApiError> {
    // Needs no cluster where it is given the keys.
    if let LedgerVerb::Verify(args) = &verb {
        return ledger_verify::run(global, args, output).await;
    }
    let client = global.client().await?;
    match verb {
        LedgerVerb::Verify(_) => {} // was done above
        LedgerVerb::Keys => {
            let keys: LedgerKeys = client.get("/v1/ledger/keys").await?;
            output.view(&keys, |output| shown(&keys, output));
        }
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
        LedgerVerb::Transfer { from, to, amount, nation, id } => {
            let id = id.unwrap_or_else(random_id);
            output.talk(&format!("id {id}: give it again with --id to be sure that this books once"));
            let order = Transfer { id, from, to, amount, nation };
            let done: TransferDone = client.post("/v1/ledger/transfer", &order).await?;
            let number = done.number;
            output.view(&done, |_| match done.booked {
                true => format!("booked as number {number}"),
                false => format!("was booked before, as number {number}"),
            });
        }
        LedgerVerb::Status => {
            let status: LedgerStatus = client.get("/v1/ledger/status").await?;
            output.view(&status, |_| {
                let voters: Vec<&str> = status.voters.iter().map(NodeName::as_str).collect();
                let leader = status.leader.as_ref().map_or("nobody known", NodeName::as_str);
                format!(
                    "{} transfers at position {}; kept by {}; led by {leader}; {}",
                    status.entries,
                    status.position,
                    if voters.is_empty() { "nobody known".to_owned() } else { voters.join(", ") },
                    freshness(&status.as_of)
                )
            });
        }
        LedgerVerb::Voters(verb) => {
            let (node, add) = match verb {
                VotersVerb::Add { node } => (node, true),
                VotersVerb::Remove { node } => (node, false),
            };
            let done: VotersDone = client.post("/v1/ledger/voters", &Voters { node, add }).await?;
            output.view(&done, |output| {
                let voters = format!("these vote: {}", done.voters.join(", "));
                match &done.warning {
                    Some(warning) => format!("{voters}\n{}", output.paint(Tone::Warn, warning)),
                    None => voters,
                }
            });
        }
        LedgerVerb::Allowance(verb) => offline::allowance(&client, verb, output).await?,
        LedgerVerb::Intend { to, amount, nation, id } => {
            let id = id.unwrap_or_else(random_id);
            output.talk(&format!("id {id}: give it again with --id to be sure that this is signed once"));
            offline::intend(&client, IntentWanted { id, to, amount, nation }, output).await?;
        }
        LedgerVerb::Outbox => offline::outbox(&client, output).await?,
        LedgerVerb::Inbox { verb } => offline::inbox(&client, verb, output).await?,
        LedgerVerb::Balances { stale } => {
            let balances = balances(&client, stale).await?;
            output.view(&balances, |output| {
                let row = |account: &covenant_ledger::AccountBalance| {
                    vec![(Tone::Plain, account.account.clone()), (Tone::Plain, format!("{:>20}", account.balance))]
                };
                let rows: Vec<_> = balances.accounts.iter().map(row).collect();
                let table = output.table(&["ACCOUNT", "             BALANCE"], &rows);
                format!("{table}\n{}", freshness(&balances.as_of))
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
        LedgerVerb::Pend { from, to, amount, nation, expires_after, id } => {
            step(&client, output, id, Step::Pend { from, to, amount, nation, expires_after }).await?;
        }
        LedgerVerb::Post { pending, amount, id } => step(&client, output, id, Step::Post { pending, amount }).await?,
        LedgerVerb::Void { pending, id } => step(&client, output, id, Step::Void { pending }).await?,
        LedgerVerb::Correct { of, amount, id } => step(&client, output, id, Step::Correct { of, amount }).await?,
        LedgerVerb::Close { through } => {
            let done: ClosedDone = client.post("/v1/ledger/close", &CloseBooks { through }).await?;
            output.view(&done, |_| format!("the books are closed through {}, for ever", done.through));
        }
        LedgerVerb::Statement { account, from } => statement::show(&client, output, account, from).await?,
        LedgerVerb::Report { year, svg } => report::show(&client, output, year, svg.as_deref()).await?,
        LedgerVerb::Export { format } => export(&client, output, format).await?,
    }
    Ok(())
}

/// Does one of the transfers that are more than a movement.
async fn step(client: &Client, output: &Output, id: Option<TransferId>, step: Step) -> Result<(), ApiError> {
    let id = id.unwrap_or_else(random_id);
    output.talk(&format!("id {id}: give it again with --id to be sure that this books once"));
    let pends = matches!(step, Step::Pend { .. });
    let done: TransferDone = client.post("/v1/ledger/steps", &LedgerStep { id, step }).await?;
    let number = done.number;
    output.view(&done, |_| {
        let again = if done.booked { "booked" } else { "was booked before," };
        let next = if pends { format!("; post or void it by its id {id}") } else { String::new() };
        format!("{again} as number {number}{next}")
    });
    Ok(())
}

async fn export(client: &Client, output: &Output, format: ExportFormat) -> Result<(), ApiError> {
    let form = match format {
        ExportFormat::Hledger => "hledger",
        ExportFormat::Csv => "csv",
    };
    let (mut from, mut whole) = (Some(0), String::new());
    while let Some(start) = from {
        let page: ExportPage = client.get(&format!("/v1/ledger/export?from={start}&form={form}")).await?;
        from = page.next;
        if output.json() {
            whole.push_str(&page.text);
        } else {
            output.data(page.text.trim_end_matches(['\r', '\n']));
        }
    }
    if output.json() {
        let text = match format {
            ExportFormat::Hledger => "journal",
            ExportFormat::Csv => "table",
        };
        output.view(&serde_json::json!({ "format": form, text: whole }), |_| String::new());
    }
    Ok(())
}

/// The keys, as options of `ledger verify`.
fn shown(keys: &LedgerKeys, output: &Output) -> String {
    let lines = keys.voters.iter().map(|voter| match (&voter.log, &voter.witness) {
        (Some(log), Some(witness)) => format!("{}\n  --log {log}\n  --witness {witness}", voter.node),
        _ => output.paint(Tone::Warn, &format!("{}\n  cannot be asked, or has no log yet", voter.node)),
    });
    let lines: Vec<String> = lines.collect();
    format!(
        "{}\nof the other voters, {} cosign each checkpoint: --quorum {}",
        lines.join("\n"),
        keys.quorum,
        keys.quorum
    )
}

/// All pages of the accounts.
async fn balances(client: &Client, stale: bool) -> Result<Balances, ApiError> {
    let mut all: Balances = client.get(&format!("/v1/ledger/balances?stale={stale}")).await?;
    while let Some(from) = all.next.take() {
        let page: Balances = client.get(&format!("/v1/ledger/balances?stale={stale}&from={from}")).await?;
        all.accounts.extend(page.accounts);
        (all.next, all.as_of) = (page.next, page.as_of);
    }
    Ok(all)
}

/// How fresh what is shown is, in words.
pub(super) fn freshness(as_of: &AsOf) -> String {
    let position = as_of.position;
    if as_of.linearizable {
        format!("up to date, as of entry {position} of the log")
    } else {
        format!("as one node had it {} ms ago, as of entry {position} of the log", as_of.age_ms)
    }
}

pub(super) fn random_id() -> TransferId {
    TransferId((u128::from(covenant_node::entropy()) << 64) | u128::from(covenant_node::entropy()))
}
