//! Witnesses cosign what extends what they saw, and nothing else.

use covenant_identity::NodeKey;
use covenant_tlog::{AddCheckpoint, CHECKPOINT_FILE, Hash, Prover, Refusal, SignedNote, Witness, sign};

use crate::fixture::{Authors, entries};

const TIME: u64 = 1_700_000_000;

fn request(authors: &Authors, all: &[Vec<u8>], old_size: u64) -> AddCheckpoint {
    let files = authors.files(all);
    let proof = Prover::new(&files, all.len() as u64).consistency(old_size).unwrap();
    let checkpoint = SignedNote::parse(&files[CHECKPOINT_FILE]).unwrap();
    AddCheckpoint { old_size, proof, checkpoint }
}

fn witness(authors: &Authors, remembered: &str) -> Witness {
    Witness::new("new.example/w".parse().unwrap(), vec![authors.policy.log().clone()], remembered).unwrap()
}

#[test]
fn a_witness_follows_a_log_that_grows_and_remembers_over_a_restart() {
    let (authors, all, key) = (Authors::new(0), entries(1000), NodeKey::generate());
    let mut witness = witness(&authors, "");
    for (old, new) in [(0, 1), (1, 1), (1, 300), (300, 512), (512, 1000)] {
        let request = request(&authors, &all[..new], old);
        let request = AddCheckpoint::parse(request.to_string().as_bytes()).unwrap();
        let agreed = witness.add_checkpoint(&request, TIME, &key).unwrap();
        assert_eq!(agreed.record.size, new as u64);
        let name = "new.example/w".parse().unwrap();
        let verifier = covenant_tlog::VerifierKey::new(name, covenant_tlog::KeyKind::Cosignature, key.public_key());
        assert_eq!(verifier.verify(request.checkpoint.text(), &agreed.line), Some(TIME));
        witness = self::witness(&authors, &witness.to_text());
        assert_eq!(witness.record(authors.policy.log().name()), Some(agreed.record));
    }
}

#[test]
fn a_witness_refuses_what_does_not_extend_what_it_saw() {
    let (authors, mut all, key) = (Authors::new(0), entries(1000), NodeKey::generate());
    let mut witness = witness(&authors, "");
    witness.add_checkpoint(&request(&authors, &all[..500], 0), TIME, &key).unwrap();
    let remembered = witness.to_text();
    let mut refused = |request: &AddCheckpoint| {
        let refusal = witness.add_checkpoint(request, TIME, &key).unwrap_err();
        assert_eq!(witness.to_text(), remembered, "nothing is remembered of what was refused");
        refusal
    };
    assert_eq!(refused(&request(&authors, &all, 400)), Refusal::Conflict { size: 500 });
    assert_eq!(refused(&request(&authors, &all, 0)), Refusal::Conflict { size: 500 });
    assert_eq!(refused(&request(&authors, &all[..400], 400)), Refusal::Conflict { size: 500 });
    let smaller = AddCheckpoint { old_size: 500, ..request(&authors, &all[..400], 400) };
    assert_eq!(refused(&smaller), Refusal::Malformed);
    let unproved = AddCheckpoint { proof: Vec::new(), ..request(&authors, &all, 500) };
    assert_eq!(refused(&unproved), Refusal::Inconsistent);
    let others = Authors::new(0);
    assert_eq!(refused(&request(&others, &all, 500)), Refusal::NotSigned, "the right name by another key");
    let (name, text) =
        ("other.example/log".parse().unwrap(), "other.example/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    let unknown = AddCheckpoint { old_size: 0, proof: Vec::new(), checkpoint: sign(&name, &key, text.to_owned()) };
    assert_eq!(refused(&unknown), Refusal::UnknownLog);
    let note = sign(&name, &key, "not a checkpoint\n".to_owned());
    assert_eq!(refused(&AddCheckpoint { checkpoint: note, ..unknown }), Refusal::Malformed);
    all[3].push(b'!');
    assert_eq!(refused(&request(&authors, &all, 500)), Refusal::Inconsistent, "an entry was rewritten");
    assert_eq!(refused(&request(&authors, &all[..500], 500)), Refusal::Inconsistent, "and no entry added");
}

#[test]
fn a_log_that_a_witness_no_longer_asks_for_is_remembered() {
    let (authors, key) = (Authors::new(0), NodeKey::generate());
    let mut first = witness(&authors, "");
    first.add_checkpoint(&request(&authors, &entries(5), 0), TIME, &key).unwrap();
    let without = Witness::new("new.example/w".parse().unwrap(), Vec::new(), &first.to_text()).unwrap();
    assert_eq!(without.to_text(), first.to_text());
    for torn in ["5", "5 AAAA covenant.example/ledger\n", &format!("{0}{0}", first.to_text())] {
        let name = "new.example/w".parse().unwrap();
        assert!(Witness::new(name, Vec::new(), torn).is_err(), "{torn}");
    }
}

#[test]
fn the_request_of_the_specification_is_read() {
    let text = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
        example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = AddCheckpoint::parse(text.as_bytes()).unwrap();
    assert_eq!((request.old_size, request.proof.len(), request.checkpoint.signatures().len()), (20_852_014, 4, 2));
    assert_eq!(request.to_string(), text);
    for (from, to) in [("old 2", "old 02"), ("old", "new"), ("/6WV", "/6W"), ("fD\n\n", "fD\n"), ("\n\n—", "\n—")] {
        let changed = text.replacen(from, to, 1);
        assert!(changed == text || AddCheckpoint::parse(changed.as_bytes()).is_err(), "{from}");
    }
    let long = format!("old 1\n{}\n", format!("{}\n", Hash::EMPTY_TREE).repeat(64));
    assert!(AddCheckpoint::parse(long.as_bytes()).is_err());
}
