//! How many transfers a second one core judges and books in memory, one by one and in batches of 100.
//!
//! `cargo run --release -p covenant-book --example throughput -- [ACCOUNTS] [TRANSFERS]`
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement reads the clock and prints")]

use std::time::Instant;

use covenant_book::{
    AccountId, AccountOrder, Action, Asset, BATCH_MAX, Book, Command, Limit, MemoryStore, Movement, NewTransfer, Order,
    Outcome, Period, Tags,
};
use covenant_types::{TransferId, WallTime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut asked = std::env::args().skip(1);
    let accounts: u128 = asked.next().map_or(Ok(10_000), |accounts| accounts.parse())?;
    let transfers: u128 = asked.next().map_or(Ok(100_000), |transfers| transfers.parse())?;
    for batch in [1, 100] {
        let mut book = Book::open(MemoryStore::default())?;
        let ids: Vec<u128> = (1..=accounts).collect();
        for some in ids.chunks(BATCH_MAX) {
            let open = |id: &u128| AccountOrder { id: AccountId(*id), asset: Asset::USD, limit: Limit::None };
            book.apply(&Command { at: WallTime(0), order: Order::Open(some.iter().map(open).collect()) })?;
        }
        // Commands come from a log: what is measured begins with their bytes.
        let numbers: Vec<u128> = (0..transfers).collect();
        let commands = numbers.chunks(batch).map(|some| command(some, accounts).to_bytes()).collect::<Vec<_>>();
        let begin = Instant::now();
        let mut booked = 0;
        for bytes in &commands {
            if let Outcome::Answers(answers) = book.apply_bytes(bytes)? {
                booked += answers.iter().filter(|answer| answer.result.is_ok()).count();
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(booked as u128, transfers, "every transfer is booked");
        let rate = f64::from(u32::try_from(transfers)?) / seconds;
        println!("{accounts} accounts, {transfers} transfers in batches of {batch}: {rate:.0} transfers/s");
    }
    Ok(())
}

fn command(numbers: &[u128], accounts: u128) -> Command {
    let transfer = |number: &u128| {
        // Spread over all accounts without chance, so that two runs do the same.
        let debit = number * 7919 % accounts;
        let credit = (debit + 1 + number % (accounts - 1)) % accounts;
        let movement = Movement {
            debit: AccountId(debit + 1),
            credit: AccountId(credit + 1),
            amount: 100 + i128::from(number.is_multiple_of(7)),
            tags: Tags::default(),
        };
        NewTransfer {
            id: TransferId((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 1),
            action: Action::Post(movement),
            period: Period(2026),
            linked: false,
        }
    };
    Command {
        at: WallTime(1),
        order: Order::Transfer { transfers: numbers.iter().map(transfer).collect(), whole: false },
    }
}
