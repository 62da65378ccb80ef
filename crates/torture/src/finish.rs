//! The end: all is well again, and what the book and its replicas say is taken down.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use covenant_history::{Booked, History, Replica};
use serde_json::Value;

use crate::clients::{Shared, account, balances_of, cents};
use crate::line::{Answer, Line};
use crate::plan::VOTERS;
use crate::voters::NODES;

/// How long the voters may take to be at one position once all is well.
pub(crate) const AGREE_WITHIN: Duration = Duration::from_secs(90);
/// How long an answer may take at the end.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until each voter says the same of itself, takes down what each has, and the whole book in its order.
pub(crate) async fn take_down(shared: &Shared, history: &mut History) -> anyhow::Result<()> {
    let mut lines = shared.lines();
    history.replicas = agreed(&mut lines).await?;
    for (line, replica) in lines.iter_mut().zip(&mut history.replicas) {
        replica.balances = balances_of(&ask(line, "/v1/ledger/balances?stale=true").await?);
    }
    let line = lines.first_mut().context("there are voters")?;
    let check = ask(line, "/v1/ledger/check").await?;
    if check["ok"] != true {
        let problems = check["problems"].as_array().cloned().unwrap_or_default();
        let texts = problems.iter().map(|problem| problem.as_str().unwrap_or_default().to_owned());
        history.replicas.iter_mut().take(1).for_each(|replica| replica.problems = texts.clone().collect());
    }
    history.book = book(line).await?;
    Ok(())
}

/// What each voter has when all have applied the same; what they have when the time is over, which is then found.
async fn agreed(lines: &mut [Line; VOTERS]) -> anyhow::Result<Vec<Replica>> {
    let until = Instant::now() + AGREE_WITHIN;
    loop {
        let mut replicas = Vec::new();
        for (line, node) in lines.iter_mut().zip(NODES) {
            if let Answer::Yes(status) = line.ask("GET", "/v1/ledger/status", None, ANSWER_WITHIN).await {
                replicas.push(replica(node, &status)?);
            }
        }
        let same = replicas.windows(2).all(|two| match two {
            [one, other] => (one.position, &one.state) == (other.position, &other.state),
            _ => true,
        });
        if replicas.len() == VOTERS && (same || Instant::now() > until) {
            return Ok(replicas);
        }
        if Instant::now() > until {
            bail!("{} of {VOTERS} voters answer {AGREE_WITHIN:?} after all was well", replicas.len());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn replica(node: &str, status: &Value) -> anyhow::Result<Replica> {
    let state = status["state"].as_str().filter(|state| !state.is_empty()).context("a status says its state")?;
    Ok(Replica {
        node: account(node),
        position: status["position"].as_u64().context("a status says its position")?,
        state: state.to_owned(),
        balances: std::collections::BTreeMap::new(),
        problems: Vec::new(),
    })
}

/// Asks until there is an answer.
async fn ask(line: &mut Line, path: &str) -> anyhow::Result<Value> {
    let until = Instant::now() + AGREE_WITHIN;
    loop {
        let answer = line.ask("GET", path, None, ANSWER_WITHIN).await;
        if let Answer::Yes(said) = answer {
            return Ok(said);
        }
        ensure!(Instant::now() < until, "{path}: {}", answer.words());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The whole book, from its journal.
async fn book(line: &mut Line) -> anyhow::Result<Vec<Booked>> {
    let (mut book, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let page = ask(line, &format!("/v1/ledger/export?from={from}")).await?;
        let text = page["text"].as_str().context("a page has a text")?;
        entries(text, &mut book)?;
        next = page["next"].as_u64();
    }
    Ok(book)
}

/// The entries of a page: `DATE (NUMBER) …  ; id:ID, …` and two lines of accounts.
fn entries(text: &str, book: &mut Vec<Booked>) -> anyhow::Result<()> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(';') || line.starts_with("commodity") {
            continue;
        }
        let entry = entry(line, lines.next(), lines.next());
        book.push(entry.with_context(|| format!("this is no entry of a journal: {line}"))?);
    }
    Ok(())
}

fn entry(head: &str, gave: Option<&str>, gained: Option<&str>) -> Option<Booked> {
    let number = head.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
    let id = head.split_once("id:")?.1.split([',', ' ']).next()?.parse().ok()?;
    let side = |line: &str| {
        let (name, rest) = line.trim_start().split_once("  ")?;
        Some((account(name), cents(rest.trim().strip_suffix(" USD")?)?))
    };
    let ((from, less), (to, amount)) = (side(gave?)?, side(gained?)?);
    (less == -amount).then_some(Booked { number, id, from, to, amount })
}

#[cfg(test)]
mod tests {
    use covenant_types::TransferId;

    use super::*;

    #[test]
    fn a_journal_is_read_as_the_ledger_writes_it() {
        let text = "; The covenant's book. Check it with: hledger check -f FILE\ncommodity 1000.00 USD\n\n\
                    2026-09-21 (0) transfer  ; id:000000000000000000000000000000ff, position:3, year:2026\n    \
                    treasury  -12.34 USD\n    nation:KEN  12.34 USD\n\n";
        let mut book = Vec::new();
        entries(text, &mut book).unwrap();
        let (from, to) = (account("treasury"), account("nation:KEN"));
        assert_eq!(book, [Booked { number: 0, id: TransferId(255), from, to, amount: 1234 }]);
        for bad in ["x", "2026-09-21 (x) t ; id:1,\n    a  -1.00 USD\n    b  1.00 USD\n"] {
            assert!(entries(bad, &mut book).is_err(), "{bad}");
        }
        let uneven = text.replace("  12.34", "  12.35");
        assert!(entries(&uneven, &mut book).is_err(), "an entry that does not sum to zero");
    }
}
