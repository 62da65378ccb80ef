use covenant_env::Random;
use covenant_types::WallTime;
use openraft::{EntryPayload, LeaderId};
use rand::Rng;

use super::*;
use crate::codec::{decode_entry, encode_entry};
use crate::tests::SimDisk;
use crate::types::{Batch, Command, VoterId};

/// Small, so that a short log has several segments.
const ROLL_AT: u64 = 1024;

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, VoterId::from(1)), index)
}

fn entry(term: u64, index: u64, bytes: usize) -> Record {
    let commands = vec![Command { id: u128::from(index), bytes: vec![0; bytes], at: WallTime(1) }];
    let entry = crate::types::Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Batch { at: WallTime(1), commands }),
    };
    Record::Entry { log_id: entry.log_id, bytes: encode_entry(&entry).into() }
}

async fn open(disk: &SimDisk) -> Result<Log, LogError> {
    Log::open_with(Arc::new(disk.clone()), &Env::for_test(1), ROLL_AT).await
}

/// Submits and waits until it is on disk.
async fn write(log: &Log, records: &[Record]) -> io::Result<()> {
    let (done, on_disk) = tokio::sync::oneshot::channel();
    let done = Box::new(move |outcome| done.send(outcome).expect("the test waits"));
    log.submit(records.to_vec(), Some(done)).await?;
    on_disk.await.map_err(io::Error::other)?
}

/// What a log is to its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Arc<[u8]>>,
}

impl Model {
    fn take(&mut self, records: &[Record]) {
        for record in records.iter().cloned() {
            match record {
                Record::Vote(vote) => self.vote = Some(vote),
                Record::Committed(_) => {}
                Record::Entry { log_id, bytes } => drop(self.entries.insert(log_id.index, bytes)),
                Record::Truncate { since } => drop(self.entries.split_off(&since)),
                Record::Purge(upto) => {
                    self.entries = self.entries.split_off(&(upto.index + 1));
                    self.purged = Some(upto);
                }
            }
        }
    }

    async fn of(log: &Log) -> Self {
        let read = read(log.index(), &Env::for_test(1), .., usize::MAX).await.unwrap();
        let entries = read.into_iter().map(|bytes| (decode_entry(&bytes).unwrap().log_id.index, bytes));
        let index = log.index().lock();
        let (vote, purged) = (index.vote, index.purged);
        Self { vote, purged, entries: entries.collect() }
    }
}

/// Some life of a log: votes, entries, conflicts, purges.
fn life(seed: u64, steps: usize) -> Vec<Vec<Record>> {
    let mut luck = Random::new(seed).derive("life");
    let (mut term, mut purged, mut next) = (1, 0, 0);
    let mut life = Vec::new();
    for _ in 0..steps {
        match luck.random_range(0..10) {
            0 => {
                term += 1;
                life.push(vec![Record::Vote(Vote::new(term, VoterId::from(luck.random_range(1..4))))]);
            }
            1 if next > purged + 1 => {
                next = luck.random_range(purged + 1..next);
                life.push(vec![Record::Truncate { since: next }]);
            }
            2 if next > purged + 1 => {
                purged = luck.random_range(purged..next);
                life.push(vec![Record::Purge(log_id(1, purged))]);
            }
            _ => {
                let records =
                    (0..luck.random_range(1..4)).map(|more| entry(term, next + more, luck.random_range(0..900)));
                let records: Vec<_> = records.collect();
                next += records.len() as u64;
                life.push(records);
            }
        }
    }
    life
}

#[tokio::test]
async fn a_power_cut_at_any_operation_loses_nothing_that_was_promised() {
    for seed in 0..4 {
        let life = life(seed, 40);
        let mut cut = 0;
        loop {
            let disk = SimDisk::default();
            disk.cut_after(cut);
            let (mut promised, mut model) = (0, Model::default());
            if let Ok(log) = open(&disk).await {
                for records in &life {
                    if write(&log, records).await.is_err() {
                        break;
                    }
                    model.take(records);
                    promised += 1;
                }
            }
            let after = disk.after_cut(seed ^ u64::from(cut));
            let found = open(&after).await.unwrap_or_else(|error| panic!("seed {seed}, cut after {cut}: {error}"));
            let found = Model::of(&found).await;
            let mut one_more = model.clone();
            one_more.take(life.get(promised).map_or(&[], Vec::as_slice));
            assert!(found == model || found == one_more, "seed {seed}, cut after {cut}, {promised} promised");
            if promised == life.len() {
                break;
            }
            cut += 1;
        }
        assert!(cut > 80, "each write and sync was cut once");
    }
}

#[tokio::test]
async fn segments_that_hold_nothing_any_more_are_taken_away() {
    let disk = SimDisk::default();
    let log = open(&disk).await.unwrap();
    for index in 0..50 {
        write(&log, &[entry(1, index, 300)]).await.unwrap();
    }
    let before = disk.list().unwrap().len();
    write(&log, &[Record::Purge(log_id(1, 45))]).await.unwrap();
    assert!(before > 10 && disk.list().unwrap().len() <= 4, "of {before} files {:?} are left", disk.list());
    drop(log);
    let log = open(&disk).await.unwrap();
    assert_eq!(Model::of(&log).await.entries.keys().copied().collect::<Vec<_>>(), [46, 47, 48, 49]);
}

#[tokio::test]
async fn many_appends_share_one_sync_and_are_told_in_their_order() {
    let disk = SimDisk::default();
    let log = open(&disk).await.unwrap();
    let (told, mut hear) = mpsc::channel(100);
    for index in 0..100 {
        let told = told.clone();
        let done =
            Box::new(move |outcome: io::Result<()>| told.try_send((index, outcome.is_ok())).expect("the test hears"));
        log.submit(vec![entry(1, index, 100)], Some(done)).await.unwrap();
        let seen = read(log.index(), &Env::for_test(1), index..=index, usize::MAX).await.unwrap();
        assert_eq!(seen.len(), 1, "an entry is read before it is on disk");
    }
    for index in 0..100 {
        assert_eq!(hear.recv().await, Some((index, true)));
    }
    let syncs = log.index().lock().syncs();
    assert!(syncs <= 5, "{syncs} syncs for 100 appends");
}

#[tokio::test]
async fn every_flipped_bit_is_found_on_open() {
    let disk = SimDisk::default();
    let log = open(&disk).await.unwrap();
    write(&log, &[Record::Vote(Vote::new(1, VoterId::from(1)))]).await.unwrap();
    for index in 0..6 {
        write(&log, &[entry(1, index, 250)]).await.unwrap();
    }
    drop(log);
    let names = disk.list().unwrap();
    assert!(names.len() > 1);
    for name in names {
        for bit in 0..disk.bits(&name) {
            disk.flip(&name, bit);
            let found = open(&disk).await;
            assert!(matches!(found, Err(LogError::Damaged { .. })), "{name}, bit {bit}");
            disk.flip(&name, bit);
        }
    }
    assert_eq!(Model::of(&open(&disk).await.unwrap()).await.entries.len(), 6, "nothing was changed meanwhile");
}

#[tokio::test]
async fn a_bit_that_flips_under_an_open_log_is_found_when_it_is_read() {
    let disk = SimDisk::default();
    let log = open(&disk).await.unwrap();
    write(&log, &[entry(1, 0, 300)]).await.unwrap();
    drop(log);
    let log = open(&disk).await.unwrap();
    let name = disk.list().unwrap().remove(0);
    disk.flip(&name, 200 * 8);
    let error = read(log.index(), &Env::for_test(1), .., usize::MAX).await.unwrap_err();
    assert!(error.to_string().contains("is damaged at byte"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_missing_is_a_hole_and_not_a_shorter_log() {
    for lost in 0..3 {
        let disk = SimDisk::default();
        let log = open(&disk).await.unwrap();
        for index in 0..12 {
            write(&log, &[entry(1, index, 300)]).await.unwrap();
        }
        drop(log);
        let names = disk.list().unwrap();
        disk.remove(&names[lost]).unwrap();
        assert!(matches!(open(&disk).await, Err(LogError::Hole { .. })), "{}", names[lost]);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let disk = SimDisk::default();
    let log = open(&disk).await.unwrap();
    write(&log, &[entry(1, 0, 100)]).await.unwrap();
    disk.room_for(100);
    let error = write(&log, &[entry(1, 1, 600)]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(write(&log, &[entry(1, 2, 0)]).await.is_err(), "nothing follows what could not be written");
    drop(log);
    disk.make_room();
    let log = open(&disk).await.unwrap();
    assert_eq!(Model::of(&log).await.entries.len(), 1);
    write(&log, &[entry(1, 1, 600)]).await.unwrap();
}

#[tokio::test]
async fn old_entries_leave_memory_and_are_read_from_the_disk() {
    let disk = SimDisk::default();
    let log = Log::open(Arc::new(disk.clone()), &Env::for_test(1)).await.unwrap();
    let mut model = Model::default();
    for index in 0..12 {
        let records = [entry(1, index, CACHE_BYTES_MAX / 8)];
        write(&log, &records).await.unwrap();
        model.take(&records);
    }
    assert!(log.index().lock().cached_bytes <= CACHE_BYTES_MAX);
    assert_eq!(Model::of(&log).await, model);
    let some = read(log.index(), &Env::for_test(1), 0..12, CACHE_BYTES_MAX / 4).await.unwrap();
    assert_eq!(some.len(), 1, "so many as were asked for in bytes, and one at least");
}
