//! `covenant ledger verify` without a cluster: by the keys that it is given, and nobody else's word.

use std::path::Path;

use covenant_identity::NodeKey;
use covenant_tlog::{
    Checkpoint, Hash, KeyKind, KeyName, MemoryFiles, SignedNote, TileBuilder, VerifierKey, cosign, sign,
};

use crate::harness::{assert_refused, run, text};

/// A log and a witness.
struct Authors {
    log: (KeyName, NodeKey),
    witness: (KeyName, NodeKey),
}

impl Authors {
    fn new() -> Self {
        let author = |name: &str| (name.parse().unwrap(), NodeKey::generate());
        Self { log: author("covenant.example/hub/ledger"), witness: author("covenant.example/other/witness") }
    }

    fn checkpoint(&self, size: u64, root: Hash) -> SignedNote {
        let origin = self.log.0.to_string();
        let note = sign(&self.log.0, &self.log.1, Checkpoint { origin, size, root, extensions: vec![] }.to_string());
        let line = cosign(&self.witness.0, &self.witness.1, 1_790_000_000, note.text()).unwrap();
        note.with(line)
    }

    fn vkeys(&self) -> (String, String) {
        let key = |kind, (name, key): &(KeyName, NodeKey)| VerifierKey::new(name.clone(), kind, key.public_key());
        (key(KeyKind::Note, &self.log).to_string(), key(KeyKind::Cosignature, &self.witness).to_string())
    }
}

fn write(folder: &Path, files: &MemoryFiles) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_log_is_verified_by_the_keys_that_are_given_and_what_is_wrong_is_said() {
    let (authors, dir) = (Authors::new(), tempfile::tempdir().unwrap());
    let (log, witness) = authors.vkeys();
    let folder = text(dir.path());
    let verify = |more: &[&str]| run(&[&["ledger", "verify", "--from", folder], more].concat());
    let keys = ["--log", &log, "--witness", &witness];
    assert_refused(&verify(&keys), 2, &["has no checkpoint", "nothing was published yet"]);

    // A log without entries is one.
    let empty = authors.checkpoint(0, Hash::EMPTY_TREE).to_string();
    std::fs::write(dir.path().join("checkpoint"), &empty).unwrap();
    let good = verify(&[&keys[..], &["--json"]].concat());
    assert!(good.status.success(), "{good:?}");
    let proved: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((&proved["entries"], &proved["quorum"], &proved["exact_files"]), (&0.into(), &1.into(), &true.into()));
    assert_eq!(proved["cosigned_by"][0], "covenant.example/other/witness");
    assert_eq!(proved["keys_from_cluster"], false);
    let shown = String::from_utf8(verify(&keys).stdout).unwrap();
    assert!(shown.contains("the log holds") && shown.contains("by the keys that were given"), "{shown}");

    assert_refused(&verify(&["--log", &log]), 1, &["does NOT hold", "unknown keys", "--witness"]);
    assert_refused(&verify(&[&keys[..], &["--quorum", "2"]].concat()), 2, &["a quorum of 2 among 1 witnesses"]);
    assert_refused(&verify(&["--log", "no key"]), 2, &["\"no key\" is no key"]);
    let (stranger, _) = Authors::new().vkeys();
    assert_refused(&verify(&["--log", &stranger, "--witness", &witness]), 1, &["does NOT hold", "did not sign it"]);
    std::fs::write(dir.path().join("notes"), "x").unwrap();
    assert_refused(&verify(&keys), 1, &["does NOT hold", "\"notes\" does not belong to the log"]);
    std::fs::remove_file(dir.path().join("notes")).unwrap();

    // Entries that are none of a ledger, in a log that holds otherwise.
    let mut builder = TileBuilder::default();
    builder.append(b"no command").unwrap();
    let mut files: MemoryFiles = builder.edge().into_iter().map(|file| (file.path.to_string(), file.bytes)).collect();
    files.insert("checkpoint".to_owned(), authors.checkpoint(1, builder.root()).to_string().into_bytes());
    write(dir.path(), &files);
    assert_refused(&verify(&keys), 1, &["does NOT hold", "entry 0"]);

    // It was longer once.
    let kept = dir.path().with_extension("kept");
    std::fs::write(&kept, authors.checkpoint(7, Hash::leaf(b"what was")).to_string()).unwrap();
    let found = verify(&[&keys[..], &["--earlier", text(&kept)]].concat());
    std::fs::remove_file(&kept).unwrap();
    assert_refused(&found, 1, &["the log has 1 entries and had 7"]);
    assert_refused(
        &run(&["ledger", "verify", "--from", "https://127.0.0.1:1/ledger", "--log", &log]),
        2,
        &["only http://"],
    );
    assert_refused(
        &run(&["ledger", "verify", "--from", "http://127.0.0.1:1/ledger", "--log", &log]),
        8,
        &["cannot be read"],
    );
}
