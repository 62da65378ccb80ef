//! How long a full verify takes: `cargo run --release -p covenant-tlog --example verify_speed [ENTRIES]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints and reads the clock")]

use std::convert::Infallible;
use std::error::Error;
use std::time::Instant;

use covenant_identity::NodeKey;
use covenant_tlog::{
    CHECKPOINT_FILE, Checkpoint, KeyKind, KeyName, MemoryFiles, Policy, TileBuilder, VerifierKey, cosign, sign, verify,
};

const ENTRY_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |count| count.parse())?;
    let (log, witness): (KeyName, KeyName) = ("covenant.example/ledger".parse()?, "witness.example/w".parse()?);
    let (log_key, witness_key) = (NodeKey::generate(), NodeKey::generate());

    let started = Instant::now();
    let (mut files, mut builder) = (MemoryFiles::new(), TileBuilder::default());
    let mut entry = [7; ENTRY_BYTES];
    for number in 0..count {
        entry[..8].copy_from_slice(&number.to_le_bytes());
        files.extend(builder.append(&entry)?.into_iter().map(|file| (file.path.to_string(), file.bytes)));
    }
    files.extend(builder.edge().into_iter().map(|file| (file.path.to_string(), file.bytes)));
    let (origin, size, root) = (log.to_string(), builder.size(), builder.root());
    let note = sign(&log, &log_key, Checkpoint { origin, size, root, extensions: Vec::new() }.to_string());
    let cosignature = cosign(&witness, &witness_key, 1_700_000_000, note.text()).ok_or("no such time")?;
    files.insert(CHECKPOINT_FILE.to_owned(), note.with(cosignature).to_string().into_bytes());
    println!(
        "{count} entries of {ENTRY_BYTES} B written in {:.2} s, {} files",
        started.elapsed().as_secs_f64(),
        files.len()
    );

    let witnesses = vec![VerifierKey::new(witness, KeyKind::Cosignature, witness_key.public_key())];
    let policy = Policy::new(VerifierKey::new(log, KeyKind::Note, log_key.public_key()), witnesses, 1)?;
    let started = Instant::now();
    let mut bytes = 0;
    let verified = verify::<Infallible>(&files, &policy, &[], |_, entry| {
        bytes += entry.len();
        Ok(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{} entries, {bytes} B verified in {seconds:.2} s on one core", verified.head.size());
    Ok(())
}
