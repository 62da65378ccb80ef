//! The transparency log: what a witness, a verifier and a log at its start read.

use covenant_tlog::{AddCheckpoint, Checkpoint, SignedNote, TilePath, VerifierKey, Witness, cut_tile, parse_bundle};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("tlog-note", fuzz_note, note_seeds),
    Target::new("tlog-request", fuzz_request, request_seeds),
    Target::new("tlog-key", fuzz_key, key_seeds),
    Target::new("tlog-path", fuzz_path, path_seeds),
    Target::new("tlog-bundle", fuzz_bundle, bundle_seeds),
    Target::new("tlog-witness", fuzz_witness, witness_seeds),
];

/// The example of the specification.
const CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

/// A checkpoint with its signatures.
fn fuzz_note(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes, "a note has one form");
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.to_string(), note.text(), "a checkpoint has one form");
        }
    }
}

fn note_seeds() -> Vec<Vec<u8>> {
    vec![CHECKPOINT.into()]
}

/// What a log asks a witness for.
fn fuzz_request(bytes: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_string().as_bytes(), bytes, "a request has one form");
    }
}

fn request_seeds() -> Vec<Vec<u8>> {
    let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    vec![format!("old 20852014\n{hash}{hash}\n{CHECKPOINT}").into(), format!("old 0\n\n{CHECKPOINT}").into()]
}

/// A public key as an operator writes it.
fn fuzz_key(bytes: &[u8]) {
    if let Some(Ok(key)) = std::str::from_utf8(bytes).ok().map(str::parse::<VerifierKey>) {
        assert_eq!(key.to_string().as_bytes(), bytes, "a key has one form");
    }
}

fn key_seeds() -> Vec<Vec<u8>> {
    vec!["example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".into()]
}

/// The name of a file.
fn fuzz_path(bytes: &[u8]) {
    if let Some(Ok(path)) = std::str::from_utf8(bytes).ok().map(str::parse::<TilePath>) {
        assert_eq!(path.to_string().as_bytes(), bytes, "a path has one form");
    }
}

fn path_seeds() -> Vec<Vec<u8>> {
    ["tile/0/x001/x234/067", "tile/entries/000.p/7", "tile/2/000.p/255"].map(Into::into).into()
}

/// Entries, and what is cut from them for an older checkpoint.
fn fuzz_bundle(bytes: &[u8]) {
    for width in [1, 2, 3, 256] {
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let path: TilePath = format!("tile/entries/000{partial}").parse().expect("a path");
        let (entries, cut) = (parse_bundle(bytes, width), cut_tile(path, bytes, 1));
        assert_eq!(entries.is_some(), cut.is_some(), "what is read can be cut");
    }
}

fn bundle_seeds() -> Vec<Vec<u8>> {
    vec![b"\0\x01a\0\0\0\x02bc".to_vec(), [0; 512].to_vec()]
}

/// What a witness remembers.
fn fuzz_witness(bytes: &[u8]) {
    let name = "witness.example/w".parse().expect("a name");
    if let Some(Ok(witness)) = std::str::from_utf8(bytes).ok().map(|text| Witness::new(name, Vec::new(), text)) {
        let again = Witness::new("w".parse().expect("a name"), Vec::new(), &witness.to_text());
        assert_eq!(again.map(|again| again.to_text()), Ok(witness.to_text()), "what is remembered is read again");
    }
}

fn witness_seeds() -> Vec<Vec<u8>> {
    vec!["20852163 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= example.com/behind-the-sofa\n".into()]
}
