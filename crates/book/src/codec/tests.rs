//! Bytes that nobody honest sends, and bytes that never change.

use proptest::prelude::*;

use super::*;
use crate::{Book, MemoryStore};

fn sample() -> Command {
    let tags = Tags { nation: Some("KEN".parse().unwrap()), sector: Some(Sector::Health), project: None };
    let movement = Movement { debit: AccountId(1), credit: AccountId(2), amount: 5, tags };
    let new = |id, action| NewTransfer { id: TransferId(id), action, period: Period(2026), linked: id == 1 };
    let transfers = vec![
        new(1, Action::Pend { movement, expires_after: Some(60) }),
        new(2, Action::PostPending { pending: TransferId(1), amount: None }),
    ];
    Command { at: WallTime(9), order: Order::Transfer { transfers, whole: true } }
}

#[test]
fn golden_bytes_never_change() {
    let hex: String = sample().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let domain = "00000017636f76656e616e742f626f6f6b2d636f6d6d616e642f31";
    let first = "00000000000000000000000000000001\
        020000000000000000000000000000000100000000000000000000000000000002\
        00000000000000000000000000000005\
        01000000034b454e01000000066865616c746800\
        010000003c07ea01";
    let second = "0000000000000000000000000000000203000000000000000000000000000000010007ea00";
    assert_eq!(hex, format!("{domain}00000000000000090200000002{first}{second}01"));
}

#[test]
fn cut_padded_and_unending_commands_are_refused() {
    let bytes = sample().to_bytes();
    assert!((0..bytes.len()).all(|length| Command::from_bytes(&bytes[..length]).is_err()));
    assert!(Command::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert_eq!(Command::from_bytes(&vec![0; COMMAND_BYTES_MAX + 1]), Err(CanonicalError::BadValue("length")));
    let mut writer = Writer::new(Command::DOMAIN);
    writer.u64(9).u8(1).count(LIST_MAX + 1);
    let long = [writer.finish(), vec![0; 20_000]].concat();
    assert_eq!(Command::from_bytes(&long), Err(CanonicalError::BadValue("list")));
}

proptest! {
    #[test]
    fn a_broken_command_is_refused_or_is_another_one(at in 0..200usize, byte: u8) {
        let mut bytes = sample().to_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(command) = Command::from_bytes(&bytes) {
            prop_assert_eq!(command.to_bytes(), bytes);
            let mut book = Book::open(MemoryStore::default()).unwrap();
            let outcome = book.apply(&command).unwrap();
            prop_assert_eq!(Outcome::from_bytes(&outcome.to_bytes()), Ok(outcome));
            prop_assert_eq!(book.check().unwrap().problems, Vec::<String>::new());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), domain in 0..2usize) {
        let domain = [Command::DOMAIN, Outcome::DOMAIN][domain];
        let mut record = Writer::new(domain).finish();
        record.extend(bytes);
        let _any = (Command::from_bytes(&record), Outcome::from_bytes(&record), Account::from_bytes(&record));
        let _other = (crate::Transfer::from_bytes(&record), Receipt::from_record(&record));
    }
}
