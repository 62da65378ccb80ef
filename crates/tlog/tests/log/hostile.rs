//! Bytes from nobody honest: read or refused, never a panic, and read in one way only.

use covenant_tlog::{AddCheckpoint, Checkpoint, SignedNote, TilePath, VerifierKey, Witness, parse_bundle};
use proptest::prelude::*;

use crate::fixture::{Authors, entries};

proptest! {
    #[test]
    fn what_is_read_is_written_to_the_same_bytes(text in "[ -~\n—]{0,200}") {
        if let Ok(note) = SignedNote::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), &text[..]);
        }
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.to_string(), &text[..]);
        }
    }

    #[test]
    fn a_path_is_read_in_one_way(text in "(tile/)?(entries|[0-9]{1,2})/(x?[0-9]{1,4}/){0,7}[0-9]{1,4}(.p/[0-9]{1,4})?") {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn bytes_harm_no_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400), width in any::<u16>()) {
        let _read = SignedNote::parse(&bytes);
        let _read = AddCheckpoint::parse(&bytes);
        if let Some(entries) = parse_bundle(&bytes, width) {
            prop_assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
        }
        let text = String::from_utf8_lossy(&bytes);
        let _read = text.parse::<VerifierKey>();
        let _read = Witness::new("w".parse().unwrap(), Vec::new(), &text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_log_of_any_size_verifies_and_with_any_byte_changed_does_not(
        size in 0u64..700, file in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), change in 1u8..,
    ) {
        let authors = Authors::new(1);
        let mut files = authors.files(&entries(size));
        prop_assert_eq!(authors.verify(&files, &[]).unwrap().head.size(), size);
        let name = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = files.get_mut(&name).unwrap();
        let place = byte.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(authors.verify(&files, &[]).is_err(), "{} {}", name, place);
    }
}
