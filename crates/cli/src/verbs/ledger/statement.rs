//! `covenant ledger statement`: what happened on an account.

use covenant_ledger::{Account, Statement};
use covenant_node::api::ApiError;
use time::OffsetDateTime;

use crate::client::Client;
use crate::output::{Output, Tone};

/// The pages that are fetched for one view; `--from` goes on after them.
const PAGES_MAX: usize = 40;

pub(super) async fn show(client: &Client, output: &Output, account: Account, from: u64) -> Result<(), ApiError> {
    let get = |from: u64| format!("/v1/ledger/statement?account={account}&from={from}");
    let mut all: Statement = client.get(&get(from)).await?;
    for _ in 1..PAGES_MAX {
        let Some(from) = all.next else { break };
        let page: Statement = client.get(&get(from)).await?;
        all.lines.extend(page.lines);
        (all.next, all.as_of) = (page.next, page.as_of);
    }
    output.view(&all, |output| {
        let rows: Vec<_> = all
            .lines
            .iter()
            .map(|line| {
                let of = [&line.nation, &line.sector, &line.project].into_iter().flatten().map(String::as_str);
                let plain = |text: String| (Tone::Plain, text);
                vec![
                    plain(line.number.to_string()),
                    plain(date(line.at)),
                    plain(line.kind.clone()),
                    plain(format!("{:>20}", line.amount)),
                    plain(format!("{:>20}", line.balance)),
                    plain(line.other.clone()),
                    plain(of.collect::<Vec<_>>().join(" ")),
                ]
            })
            .collect();
        let heading =
            ["NUMBER", "DATE", "KIND", "              AMOUNT", "             BALANCE", "OTHER ACCOUNT", "FOR"];
        let table = output.table(&heading, &rows);
        let more = all.next.map_or_else(String::new, |next| format!("\nthere is more: --from {next}"));
        format!("{}\n{table}\n{}{more}", all.account, super::freshness(&all.as_of))
    });
    Ok(())
}

fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| seconds.to_string(), |moment| moment.date().to_string())
}
