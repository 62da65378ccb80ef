//! The covenant's book as the state of a simulated group: the very rules, in memory. What it is kept as, and shown as, is the
//! list of commands that led to it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use covenant_book::{
    AccountId, AccountOrder, Action, Asset, Book, Command, Limit, MemoryStore, Movement, NewTransfer, Order, Outcome,
    PAGE_MAX, Period, Tags,
};
use covenant_consensus::{Command as Handed, Replicated, View};
use covenant_history::{Account, Booked};
use covenant_types::{TransferId, WallTime};

/// How many accounts there are. The last may not owe.
pub(super) const ACCOUNTS: u128 = 6;
const PERIOD: Period = Period(2026);
/// The longest command that is read back.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// The book of one member.
pub(super) struct SimBook {
    book: Book<MemoryStore>,
    commands: Vec<Vec<u8>>,
}

fn failed(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

fn name(account: AccountId) -> Account {
    account.to_string().into()
}

/// The account with a number from 1.
pub(super) fn account(number: u128) -> Account {
    name(AccountId(number))
}

/// The command that opens all accounts.
pub(super) fn opening() -> Vec<u8> {
    let limit = |number| if number == ACCOUNTS { Limit::DebitsWithinCredits } else { Limit::None };
    let open = |number| AccountOrder { id: AccountId(number), asset: Asset::USD, limit: limit(number) };
    let order = Order::Open((1..=ACCOUNTS).map(open).collect());
    Command { at: WallTime::default(), order }.to_bytes()
}

/// The command that moves money between two accounts.
pub(super) fn transfer(id: TransferId, from: u128, to: u128, amount: i128) -> Vec<u8> {
    let movement = Movement { debit: AccountId(from), credit: AccountId(to), amount, tags: Tags::default() };
    let transfer = NewTransfer { id, action: Action::Post(movement), period: PERIOD, linked: false };
    Command { at: WallTime::default(), order: Order::Transfer { transfers: vec![transfer], whole: true } }.to_bytes()
}

/// What an answer says: number and whether it was booked before; `None` where the rules refused it.
pub(super) fn answered(bytes: &[u8]) -> io::Result<Option<(u64, bool)>> {
    match Outcome::from_bytes(bytes).map_err(failed)? {
        Outcome::Answers(answers) => {
            let answer = answers.first().ok_or_else(|| failed("an answer to nothing"))?;
            Ok(answer.result.as_ref().ok().map(|number| (*number, answer.again)))
        }
        Outcome::Refused(_) => Ok(None),
        other @ (Outcome::Expired { .. }
        | Outcome::Closed
        | Outcome::Adopted { .. }
        | Outcome::Assessed { .. }
        | Outcome::Distributed { .. }
        | Outcome::AllowanceOpened { .. }
        | Outcome::Intents(_)
        | Outcome::WrittenOff { .. }
        | Outcome::Resolved { .. }) => Err(failed(other)),
    }
}

impl SimBook {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { book: Book::open(MemoryStore::default()).map_err(failed)?, commands: Vec::new() })
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let command = Command::from_bytes(bytes).map_err(failed)?;
        let outcome = self.book.apply(&command).map_err(failed)?;
        self.commands.push(bytes.to_vec());
        Ok(outcome.to_bytes())
    }

    /// What all accounts hold.
    pub(super) fn balances(&self) -> io::Result<BTreeMap<Account, i128>> {
        let page = self.book.accounts(AccountId(0), PAGE_MAX).map_err(failed)?;
        Ok(page.iter().map(|account| (name(account.spec.id), account.balances.posted())).collect())
    }

    /// All transfers, in their order.
    pub(super) fn booked(&self) -> io::Result<Vec<Booked>> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let page = self.book.transfers(covenant_book::Dimension::All, from, PAGE_MAX).map_err(failed)?;
            let Some(last) = page.last() else { return Ok(all) };
            from = last.number + 1;
            all.extend(page.iter().map(|transfer| Booked {
                number: transfer.number,
                id: transfer.id,
                from: name(transfer.movement.debit),
                to: name(transfer.movement.credit),
                amount: transfer.movement.amount,
            }));
        }
    }

    /// How many commands were applied.
    pub(super) fn position(&self) -> u64 {
        self.book.head().position
    }

    /// What its own check finds.
    pub(super) fn problems(&self) -> io::Result<Vec<String>> {
        Ok(self.book.check().map_err(failed)?.problems)
    }
}

impl Replicated for SimBook {
    fn apply(&mut self, commands: &[Handed], _mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        for handed in commands {
            let command = Command::from_bytes(&handed.bytes).map_err(failed)?;
            answers.push(self.take(&Command { at: handed.at, ..command }.to_bytes())?);
        }
        Ok(answers)
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn view(&self) -> io::Result<View> {
        let commands = self.commands.clone();
        Ok(Box::new(move |out: &mut dyn Write| {
            for command in &commands {
                out.write_all(&(command.len() as u64).to_be_bytes())?;
                out.write_all(command)?;
            }
            Ok(())
        }))
    }

    fn restore(&mut self, from: &mut dyn Read, _mark: &[u8]) -> io::Result<()> {
        let mut all = Vec::new();
        from.read_to_end(&mut all)?;
        let (mut new, mut rest) = (Self::new()?, all.as_slice());
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(failed)?;
            let (command, after) =
                after.split_at_checked(length.min(COMMAND_BYTES_MAX)).ok_or_else(|| failed("cut off"))?;
            new.take(command)?;
            rest = after;
        }
        *self = new;
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        self.book.state_hash()
    }
}
