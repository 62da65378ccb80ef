//! The book for other programs, in pages: as a journal that `hledger` accepts, or as a table.

mod csv;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use covenant_book::{AccountId, Asset, Book, BookError, Dimension, Kind, PAGE_MAX, Purpose, Store, Transfer};
use time::{Date, OffsetDateTime};

use crate::question::{amount_text, moved};
use crate::{Account, ExportForm};

/// The most bytes a page has: an answer of a group holds it, with room for what its text becomes in JSON.
pub const EXPORT_PAGE_BYTES_MAX: usize = 128 * 1024;

/// What a journal begins with.
const HEADER: &str = "; The covenant's book. Check it with: hledger check -f FILE\ncommodity 1000.00 USD\n\n";

/// The page of transfers from number `from` on, and where the next begins.
pub(crate) fn page<S: Store>(
    book: &Book<S>,
    from: u64,
    form: ExportForm,
) -> Result<(String, Option<u64>), BookError<S::Error>> {
    let mut text = String::new();
    if from == 0 {
        text.push_str(match form {
            ExportForm::Hledger => HEADER,
            ExportForm::Csv => csv::HEADER,
        });
    }
    let mut names = Names { book, known: BTreeMap::new() };
    let mut at = from;
    loop {
        let transfers = book.transfers(Dimension::All, at, PAGE_MAX)?;
        if transfers.is_empty() {
            return Ok((text, None));
        }
        for transfer in &transfers {
            let mut entry = String::new();
            match form {
                ExportForm::Hledger => write_transfer(&mut entry, transfer, &mut names)?,
                ExportForm::Csv => csv::write_transfer(&mut entry, transfer, &mut names)?,
            }
            if !text.is_empty() && text.len() + entry.len() > EXPORT_PAGE_BYTES_MAX {
                return Ok((text, Some(transfer.number)));
            }
            text.push_str(&entry);
            at = transfer.number + 1;
        }
    }
}

/// What accounts are called and counted in.
struct Names<'a, S> {
    book: &'a Book<S>,
    known: BTreeMap<AccountId, (Account, Asset)>,
}

impl<S: Store> Names<'_, S> {
    fn of(&mut self, id: AccountId) -> Result<(Account, Asset), BookError<S::Error>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let kept = self.book.account(id)?;
        let named = kept
            .map_or((Account::Opened(id), Asset::USD), |kept| (Account::of(id, kept.spec.purpose), kept.spec.asset));
        self.known.insert(id, named);
        Ok(named)
    }
}

fn write_transfer<S: Store>(
    text: &mut String,
    transfer: &Transfer,
    names: &mut Names<'_, S>,
) -> Result<(), BookError<S::Error>> {
    if !moved(transfer) {
        return Ok(());
    }
    let date = date_of(transfer);
    let movement = transfer.movement;
    let ((from, asset), (to, _)) = (names.of(movement.debit)?, names.of(movement.credit)?);
    let what = match transfer.kind {
        Kind::Posted | Kind::Pending { .. } => posted(transfer, from, to),
        Kind::PendingPosted { pending } => format!("posted {pending}"),
        Kind::PendingVoided { pending } => format!("voided {pending}"),
        Kind::PendingExpired { pending } => format!("expired {pending}"),
        Kind::Correction { of } => format!("correction of {of}"),
    };
    let amount = |minor| amount_text(minor, asset);
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        "{date} ({}) {what}  ; id:{}, position:{}, year:{}",
        transfer.number, transfer.id, transfer.position, transfer.period.0
    );
    for (tag, value) in [
        ("nation", movement.tags.nation.map(|nation| nation.to_string())),
        ("sector", movement.tags.sector.map(|sector| sector.to_string())),
        ("project", movement.tags.project.map(|project| project.to_string())),
    ] {
        if let Some(value) = value {
            let _infallible = write!(text, ", {tag}:{value}");
        }
    }
    let code = asset.code;
    let _infallible = writeln!(
        text,
        "\n    {from}  {} {code}\n    {to}  {} {code}\n",
        amount(movement.amount.saturating_neg()),
        amount(movement.amount)
    );
    Ok(())
}

/// The day of a transfer, in UTC.
fn date_of(transfer: &Transfer) -> Date {
    let seconds = i64::try_from(transfer.at.0).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

/// What a posted transfer is, by who made its id and whose accounts it touches.
fn posted(transfer: &Transfer, from: Account, to: Account) -> String {
    match (transfer.is_made_by_book(), from, to) {
        (true, Account::Covenant(Purpose::Nation(_)), Account::Covenant(Purpose::Pool)) => {
            format!("assessment {}", transfer.period.0)
        }
        (true, Account::Covenant(Purpose::Treasury), _) => "distribution".to_owned(),
        _ => "transfer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command as Program, Stdio};

    use covenant_book::{Command, MemoryStore, Order, Outcome};
    use covenant_types::{TransferId, WallTime};

    use super::*;
    use crate::order::{self, Wanted};
    use crate::question::{Question, Said, answer_bytes};
    use crate::{AccountBalance, Nations};

    fn apply(book: &mut Book<MemoryStore>, order: Order) {
        let outcome = book.apply(&Command { at: WallTime(1_790_000_000), order }).unwrap();
        let refused = matches!(&outcome, Outcome::Refused(_))
            || matches!(&outcome, Outcome::Answers(answers) if answers.iter().any(|answer| answer.result.is_err()));
        assert!(!refused, "{outcome:?}");
    }

    fn sample() -> Book<MemoryStore> {
        let nations = Nations::embedded();
        let projects = covenant_book::Projects::embedded();
        let mut book = Book::open(MemoryStore::default()).unwrap();
        for order in order::tables(nations) {
            apply(&mut book, order);
        }
        let year = order::period_of(WallTime(1_790_000_000));
        apply(&mut book, order::assess(2024, nations).unwrap());
        apply(&mut book, order::distribute("1000000.01", TransferId(7), year, nations).unwrap());
        for (id, from, to, nation) in
            [(8, "treasury", "nation:KEN", None), (9, "communities", "project:seed-banks", Some("KEN".to_owned()))]
        {
            let wanted = Wanted {
                id: TransferId(id),
                from: from.to_owned(),
                to: to.to_owned(),
                amount: "1.00".to_owned(),
                nation,
            };
            apply(&mut book, order::transfer(&wanted, year, nations, projects).unwrap());
        }
        book
    }

    fn whole(book: &Book<MemoryStore>, form: ExportForm) -> String {
        let (mut from, mut text, mut pages) = (Some(0), String::new(), 0);
        while let Some(start) = from {
            let (page, next) = page(book, start, form).unwrap();
            assert!(page.len() <= EXPORT_PAGE_BYTES_MAX);
            text.push_str(&page);
            from = next;
            pages += 1;
        }
        assert!(pages >= 1);
        text
    }

    fn balances(book: &Book<MemoryStore>) -> Vec<AccountBalance> {
        let question = Question::Balances { from: String::from("0").try_into().unwrap() };
        let said = answer_bytes(book, &serde_json::to_vec(&question).unwrap()).unwrap();
        let said = serde_json::from_slice(&said).unwrap();
        let Said::Balances { accounts, next: None } = said else { panic!("{said:?}") };
        accounts
    }

    #[test]
    fn every_transfer_is_in_the_journal_once_with_what_it_is_about() {
        let (book, text) = (sample(), whole(&sample(), ExportForm::Hledger));
        let transfers = book.head().transfers;
        assert!(transfers > 194 + 2);
        for number in 0..transfers {
            assert_eq!(text.matches(&format!(" ({number}) ")).count(), 1, "{number}");
        }
        assert!(text.contains("    nation:TUV  -6228.00 USD\n    pool  6228.00 USD\n"));
        assert_eq!(text.matches(") assessment 2024  ;").count(), 194);
        assert!(text.contains(") distribution  ;"));
        let paid = text.find("project:seed-banks  1.00 USD").unwrap();
        let head = &text[..paid].rsplit("\n\n").next().unwrap();
        assert!(head.contains(", nation:KEN, sector:agriculture, project:seed-banks"), "{head}");
    }

    #[test]
    fn hledger_accepts_the_journal_and_adds_it_up_as_we_do() {
        if Program::new("hledger").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!(
                "SKIPPED: hledger is not installed, so nobody else has read this journal (apt-get install hledger)"
            );
            return;
        }
        let (dir, book) = (tempfile::tempdir().unwrap(), sample());
        let journal = dir.path().join("book.journal");
        std::fs::write(&journal, whole(&book, ExportForm::Hledger)).unwrap();
        let run = |args: &[&str]| Program::new("hledger").args(args).arg("-f").arg(&journal).output().unwrap();
        let checked = run(&["check"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let csv = String::from_utf8(run(&["balance", "--flat", "-E", "-N", "-O", "csv"]).stdout).unwrap();
        let ours = balances(&book);
        assert!(ours.len() > 190);
        for account in &ours {
            let line = format!("\"{}\",\"{} USD\"", account.account, account.balance);
            assert!(csv.contains(&line) || account.balance == "0.00", "{line} is not in what hledger says:\n{csv}");
        }
    }
}
