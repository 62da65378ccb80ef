//! The book as a journal that `hledger` accepts, in pages.

use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::error::LedgerError;
use crate::{BookStore, Entry, EntryKind, ExportPage};

/// The most bytes a page has.
pub const EXPORT_PAGE_BYTES_MAX: usize = 1024 * 1024;
/// A page of this size takes no further entry. The room left is more than the longest entry needs, and than an envelope
/// around a page that crosses to another node.
const PAGE_FULL_BYTES: usize = EXPORT_PAGE_BYTES_MAX / 2;

/// The page of entries from number `from` on.
pub(crate) fn page(book: &BookStore, from: u64) -> Result<ExportPage, LedgerError> {
    let mut text = String::new();
    if from == 0 {
        text.push_str("; The covenant's book. Check it with: hledger check -f FILE\ncommodity 1000.00 USD\n\n");
    }
    let mut next = None;
    book.entries(from, |number, entry| {
        if text.len() >= PAGE_FULL_BYTES {
            next = Some(number);
            return false;
        }
        write_entry(&mut text, number, entry);
        true
    })?;
    Ok(ExportPage { text, next })
}

fn write_entry(text: &mut String, number: u64, entry: &Entry) {
    let seconds = i64::try_from(entry.at.0).unwrap_or(0);
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
    let (what, tags) = match &entry.kind {
        EntryKind::Assessment { year, gdp_year, table } => {
            (format!("assessment {year}"), format!(", gdp_year:{gdp_year}, table:{table}"))
        }
        EntryKind::Distribution { table } => ("distribution".to_owned(), format!(", table:{table}")),
        EntryKind::Transfer => ("transfer".to_owned(), String::new()),
    };
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{date} ({number}) {what}  ; id:{}{tags}", entry.id);
    for (account, amount) in &entry.legs {
        let _infallible = writeln!(text, "    {account}  {amount} USD");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use covenant_types::{TransferId, WallTime};

    use super::*;
    use crate::{Account, Amount, Nations};

    fn sample() -> (tempfile::TempDir, BookStore) {
        let dir = tempfile::tempdir().unwrap();
        let book = BookStore::open(&dir.path().join("book.redb")).unwrap();
        let now = WallTime(1_790_000_000);
        let (assessments, _) = Entry::assessments(2024, Nations::embedded(), now);
        let shared = Entry::distribution(TransferId(7), Amount::cents(100_000_001), Nations::embedded(), now);
        let paid =
            Entry::transfer(TransferId(8), Account::Treasury, "nation:KEN".parse().unwrap(), Amount::cents(100), now);
        for result in book.post(&[assessments, vec![shared], vec![paid]], Nations::embedded()).unwrap() {
            result.unwrap();
        }
        (dir, book)
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let (_dir, book) = sample();
        let (mut from, mut text) = (Some(0), String::new());
        while let Some(start) = from {
            let page = page(&book, start).unwrap();
            text.push_str(&page.text);
            from = page.next;
        }
        for number in 0..196 {
            assert!(text.contains(&format!(" ({number}) ")), "{number}");
        }
        assert!(text.contains("    nation:TUV  -6228.00 USD\n    pool  6228.00 USD\n"));
    }

    #[test]
    fn hledger_accepts_the_journal_and_adds_it_up_as_we_do() {
        if Command::new("hledger").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!(
                "SKIPPED: hledger is not installed, so nobody else has read this journal (apt-get install hledger)"
            );
            return;
        }
        let (dir, book) = sample();
        let journal = dir.path().join("book.journal");
        std::fs::write(&journal, page(&book, 0).unwrap().text).unwrap();
        let run = |args: &[&str]| Command::new("hledger").args(args).arg("-f").arg(&journal).output().unwrap();
        let checked = run(&["check"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let csv = String::from_utf8(run(&["balance", "--flat", "-E", "-N", "-O", "csv"]).stdout).unwrap();
        let ours = book.balances().unwrap().accounts;
        for account in &ours {
            let line = format!("\"{}\",\"{} USD\"", account.account, account.balance);
            assert!(csv.contains(&line) || account.balance == "0.00", "{line} is not in what hledger says:\n{csv}");
        }
    }
}
