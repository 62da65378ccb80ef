//! Logs to test with.

use std::convert::Infallible;

use covenant_identity::NodeKey;
use covenant_tlog::{
    CHECKPOINT_FILE, Checkpoint, Hash, Head, KeyKind, KeyName, MemoryFiles, Policy, SignedNote, TileBuilder, Verified,
    VerifierKey, VerifyError, cosign, sign, verify,
};

/// A log and its witnesses, with their keys.
pub(crate) struct Authors {
    pub(crate) log: (KeyName, NodeKey),
    pub(crate) witnesses: Vec<(KeyName, NodeKey)>,
    /// Asks for all witnesses, so that none can be left out.
    pub(crate) policy: Policy,
}

impl Authors {
    pub(crate) fn new(witnesses: usize) -> Self {
        let name = |text: &str| (text.parse::<KeyName>().unwrap(), NodeKey::generate());
        let log = name("covenant.example/ledger");
        let witnesses: Vec<_> = (0..witnesses).map(|number| name(&format!("witness.example/w{number}"))).collect();
        let keys = witnesses.iter().map(|author| key(KeyKind::Cosignature, author)).collect();
        let policy = Policy::new(key(KeyKind::Note, &log), keys, witnesses.len()).unwrap();
        Self { log, witnesses, policy }
    }

    /// A checkpoint that all have signed.
    pub(crate) fn checkpoint(&self, size: u64, root: Hash) -> SignedNote {
        let origin = self.log.0.to_string();
        let text = Checkpoint { origin, size, root, extensions: Vec::new() }.to_string();
        let note = sign(&self.log.0, &self.log.1, text);
        self.witnesses.iter().fold(note, |note, (name, witness)| {
            let line = cosign(name, witness, 1_700_000_000 + size, note.text()).unwrap();
            note.with(line)
        })
    }

    pub(crate) fn head(&self, entries: &[Vec<u8>]) -> Head {
        let files = self.files(entries);
        self.policy.open(&files[CHECKPOINT_FILE]).unwrap()
    }

    /// All files of a log of these entries.
    pub(crate) fn files(&self, entries: &[Vec<u8>]) -> MemoryFiles {
        let (mut files, builder) = tiles(entries);
        let note = self.checkpoint(builder.size(), builder.root());
        files.insert(CHECKPOINT_FILE.to_owned(), note.to_string().into_bytes());
        files
    }

    pub(crate) fn verify(&self, files: &MemoryFiles, earlier: &[Head]) -> Result<Verified, VerifyError<Infallible>> {
        verify(files, &self.policy, earlier, |_, _| Ok(()))
    }
}

fn key(kind: KeyKind, (name, key): &(KeyName, NodeKey)) -> VerifierKey {
    VerifierKey::new(name.clone(), kind, key.public_key())
}

/// The tiles and bundles of these entries.
pub(crate) fn tiles(entries: &[Vec<u8>]) -> (MemoryFiles, TileBuilder) {
    let (mut files, mut builder) = (MemoryFiles::new(), TileBuilder::default());
    for entry in entries {
        files.extend(builder.append(entry).unwrap().into_iter().map(|file| (file.path.to_string(), file.bytes)));
    }
    files.extend(builder.edge().into_iter().map(|file| (file.path.to_string(), file.bytes)));
    (files, builder)
}

/// Entries of different lengths, some of them empty; no two neighbours are equal.
pub(crate) fn entries(count: u64) -> Vec<Vec<u8>> {
    let entry = |number: u64| match number % 97 {
        0 => Vec::new(),
        length => format!("{number} {}", "x".repeat(usize::try_from(length % 40).unwrap())).into_bytes(),
    };
    (0..count).map(entry).collect()
}
