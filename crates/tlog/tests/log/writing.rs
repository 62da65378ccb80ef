//! A log in a folder: it grows, and whatever the power leaves of it is found and mended.

use std::convert::Infallible;
use std::path::Path;

use covenant_identity::NodeKey;
use covenant_tlog::{
    Directory, LogFiles, LogWriter, Mended, Policy, SignedNote, Verified, VerifyError, WriteError, cosign, verify,
};

use crate::fixture::{Authors, entries};

struct Log {
    authors: Authors,
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self { authors: Authors::new(1), folder: tempfile::tempdir().unwrap() }
    }

    /// A log of `all`, published.
    fn published(all: &[Vec<u8>]) -> Self {
        let log = Self::new();
        let (mut writer, _) = log.open();
        let note = log.stage(&mut writer, all).unwrap().unwrap();
        writer.publish(&log.cosigned(&note)).unwrap();
        log
    }

    fn open(&self) -> (LogWriter, Mended) {
        LogWriter::open(self.folder.path(), self.authors.policy.log().clone()).unwrap()
    }

    fn stage(&self, writer: &mut LogWriter, all: &[Vec<u8>]) -> Result<Option<SignedNote>, WriteError> {
        writer.stage(all.iter().map(Vec::as_slice), &self.authors.log.1)
    }

    fn cosigned(&self, note: &SignedNote) -> SignedNote {
        let (name, key) = &self.authors.witnesses[0];
        note.clone().with(cosign(name, key, 1_700_000_000, note.text()).unwrap())
    }

    fn files(&self) -> Vec<String> {
        Directory::new(self.folder.path().join("public")).list().unwrap().unwrap()
    }

    fn verify(&self) -> Result<Verified, VerifyError<Infallible>> {
        verify(&Directory::new(self.folder.path().join("public")), &self.authors.policy, &[], |_, _| Ok(()))
    }
}

#[test]
fn a_log_that_grows_is_at_each_step_exactly_its_files() {
    let (log, all) = (Log::new(), entries(1_500));
    let (mut writer, mut from) = (log.open().0, 0);
    for to in [0, 1, 2, 250, 255, 256, 257, 512, 700, 1_025, 1_500] {
        let note = log.stage(&mut writer, &all[from..to]).unwrap().unwrap();
        if from > 0 {
            // The next tree is on disk, and who reads the published one has all its files.
            let (reopened, mended) = log.open();
            assert_eq!((reopened.size(), reopened.unpublished()), (to as u64, Some(&note)));
            assert_eq!(mended, Mended::default());
            writer = reopened;
        }
        writer.publish(&log.cosigned(&note)).unwrap();
        let verified = log.verify().unwrap();
        assert_eq!((verified.head.size(), verified.listed), (to as u64, true));
        let (reopened, mended) = log.open();
        assert_eq!((reopened.size(), reopened.unpublished(), mended), (to as u64, None, Mended::default()));
        writer = reopened;
        from = to;
    }
    assert_eq!(log.authors.files(&all).len(), log.files().len());
}

#[test]
fn what_a_write_left_behind_that_did_not_end_is_removed() {
    let all = entries(600);
    let log = Log::published(&all[..300]);
    // Another folder got further, and its tiles are what the power cut left here, with no checkpoint signed.
    let further = Log::published(&all);
    for name in ["tile/entries/001", "tile/0/001", "tile/entries/002.p/88", "tile/1/000.p/2"] {
        let to = log.folder.path().join("public").join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(further.folder.path().join("public").join(name), to).unwrap();
    }
    std::fs::write(log.folder.path().join("public/tile/0/.002.7.0.tmp"), "half").unwrap();
    assert!(log.verify().is_err());
    let (mut writer, mended) = log.open();
    assert_eq!(mended, Mended { left_behind: 5, ..Mended::default() });
    log.verify().unwrap();
    let note = log.stage(&mut writer, &all[300..]).unwrap().unwrap();
    writer.publish(&log.cosigned(&note)).unwrap();
    assert_eq!(log.verify().unwrap().head.size(), 600);
}

#[test]
fn what_nobody_knows_is_left_for_verify_to_find() {
    let log = Log::published(&entries(3));
    std::fs::write(log.folder.path().join("public/notes.txt"), "whose?").unwrap();
    assert_eq!(log.open().1, Mended::default());
    assert!(matches!(log.verify(), Err(VerifyError::Unknown(name)) if name == "notes.txt"));
}

/// Ways in which a disk that lies, or ages, leaves a file.
fn damage(path: &Path, how: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    match how {
        0 => return std::fs::remove_file(path).unwrap(),
        1 => bytes.clear(),
        2 => bytes.truncate(bytes.len() / 2),
        _ => *bytes.last_mut().unwrap() ^= 0x10,
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_torn_file_at_the_end_is_mended_or_its_entries_asked_for_again() {
    let all = entries(700);
    for (name, is_entries) in [("tile/0/002.p/188", false), ("tile/1/000.p/2", false), ("tile/entries/002.p/188", true)]
    {
        for how in 0..4 {
            let log = Log::published(&all);
            damage(&log.folder.path().join("public").join(name), how);
            assert!(log.verify().is_err(), "{name} {how}");
            let (mut writer, mended) = log.open();
            if is_entries {
                assert_eq!((writer.size(), mended.lost_below), (512, Some(700)), "{name} {how}");
                // What was signed must come again before more is signed.
                assert_eq!(log.stage(&mut writer, &all[512..600]).unwrap(), None);
                let other = log.stage(&mut writer, &all[500..600]);
                assert!(matches!(other, Err(WriteError::Contradiction { size: 700 })), "{name} {how}");
                assert!(log.stage(&mut writer, &all[600..]).unwrap().is_some());
            } else {
                assert_eq!((writer.size(), mended.tiles, mended.lost_below), (700, 1, None), "{name} {how}");
            }
            assert_eq!(log.verify().unwrap().head.size(), 700, "{name} {how}");
        }
    }
}

#[test]
fn a_log_whose_entries_contradict_what_was_signed_begins_again_with_the_right_ones() {
    let all = entries(700);
    let log = Log::published(&all);
    // Both the last bundle and one before it are damaged, so that more is lost than it seems.
    damage(&log.folder.path().join("public/tile/entries/000"), 3);
    damage(&log.folder.path().join("public/tile/entries/002.p/188"), 0);
    let (mut writer, mended) = log.open();
    assert_eq!((writer.size(), mended.lost_below), (0, Some(700)));
    assert!(log.stage(&mut writer, &all).unwrap().is_some());
    assert_eq!(log.verify().unwrap().head.size(), 700);

    // A bundle and its tile both changed, so that nothing but the root tells.
    let other = Log::published(&entries(699)[1..]);
    for name in ["tile/entries/000", "tile/0/000"] {
        let from = other.folder.path().join("public").join(name);
        std::fs::copy(from, log.folder.path().join("public").join(name)).unwrap();
    }
    damage(&log.folder.path().join("public/tile/entries/002.p/188"), 1);
    let (mut writer, _) = log.open();
    assert_eq!(writer.size(), 512);
    assert!(matches!(log.stage(&mut writer, &all[512..]), Err(WriteError::Contradiction { size: 700 })));
    writer.start_over();
    assert!(log.stage(&mut writer, &all).unwrap().is_some());
    assert_eq!(log.verify().unwrap().head.size(), 700);
}

#[test]
fn only_the_newest_checkpoint_of_the_right_key_is_published() {
    let (log, all) = (Log::new(), entries(10));
    let (mut writer, _) = log.open();
    let first = log.stage(&mut writer, &all[..5]).unwrap().unwrap();
    let second = log.stage(&mut writer, &all[5..]).unwrap().unwrap();
    assert!(matches!(writer.publish(&first), Err(WriteError::NotNewest)));
    assert!(matches!(writer.stage([&b"x"[..]], &NodeKey::generate()), Err(WriteError::Key)));
    assert!(matches!(writer.stage([&[0; 70_000][..]], &log.authors.log.1), Err(WriteError::Entry(_))));
    let many = vec![vec![0; 60_000]; 1200];
    assert!(matches!(log.stage(&mut writer, &many), Err(WriteError::BatchTooLarge)));
    assert_eq!(writer.size(), 10);
    writer.publish(&second).unwrap();
    assert!(matches!(log.verify(), Err(VerifyError::Checkpoint(_))), "nobody cosigned it yet");
    writer.publish(&log.cosigned(&second)).unwrap();
    log.verify().unwrap();
    let stranger = Authors::new(0).policy;
    let opened = LogWriter::open(log.folder.path(), Policy::log(&stranger).clone());
    assert!(matches!(opened, Err(WriteError::Checkpoint(..))));
}
