use super::*;

fn records(folder: &Path) -> (Vec<Vec<u8>>, Opened) {
    let mut seen = Vec::new();
    let (_, opened) = SegmentLog::open_with(folder, 64, |_, payload| seen.push(payload.to_vec())).unwrap();
    (seen, opened)
}

fn written(folder: &Path, payloads: &[&[u8]]) -> Vec<Position> {
    let (mut log, _) = SegmentLog::open_with(folder, 64, |_, _| {}).unwrap();
    let positions = payloads.iter().map(|payload| log.append(payload).unwrap()).collect();
    log.sync().unwrap();
    positions
}

#[test]
fn what_was_appended_is_read_back_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let payloads: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; usize::from(n)]).collect();
    let borrowed: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let positions = written(dir.path(), &borrowed);
    assert!(positions.last().unwrap().segment > 5);
    assert_eq!(records(dir.path()).0, payloads);
    let (log, _) = SegmentLog::open_with(dir.path(), 64, |_, _| {}).unwrap();
    for (position, payload) in positions.iter().zip(&payloads) {
        assert_eq!(log.read(*position).unwrap(), *payload);
    }
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_the_last_record() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), &[b"first", b"second"]);
        std::fs::read(dir.path().join("00000000.seg")).unwrap()
    };
    let first = HEADER_BYTES + 5;
    for cut in first..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("00000000.seg"), &whole[..cut]).unwrap();
        let (seen, opened) = records(dir.path());
        assert_eq!((seen, opened.cut_bytes), (vec![b"first".to_vec()], (cut - first) as u64));
        written(dir.path(), &[b"third"]);
        assert_eq!(records(dir.path()).0, [b"first".to_vec(), b"third".to_vec()]);
    }
}

#[test]
fn a_flipped_byte_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let position = written(dir.path(), &[b"payload"])[0];
    let path = dir.path().join("00000000.seg");
    let (log, _) = SegmentLog::open_with(dir.path(), 64, |_, _| {}).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        assert!(log.read(position).is_err(), "byte {at}");
    }
}

#[test]
fn a_log_with_a_flipped_byte_opens_with_a_part_of_what_was_written_and_never_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let payloads: [&[u8]; 4] = [b"one", b"", b"three", b"four"];
    written(dir.path(), &payloads);
    let path = dir.path().join("00000000.seg");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            std::fs::write(&path, flipped).unwrap();
            let (seen, opened) = records(dir.path());
            assert!(seen.len() < payloads.len() && seen == payloads[..seen.len()], "byte {at} bit {bit}: {seen:?}");
            assert!(opened.cut_bytes > 0, "what was dropped is told");
        }
    }
}

#[test]
fn a_missing_segment_is_reported_and_those_after_it_are_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let positions = written(dir.path(), &[&[1; 60], &[2; 60], &[3; 60]]);
    std::fs::remove_file(dir.path().join("00000001.seg")).unwrap();
    let (mut log, opened) = SegmentLog::open_with(dir.path(), 64, |_, _| {}).unwrap();
    assert_eq!((opened.records, opened.damaged), (2, vec![1]));
    assert!(matches!(log.read(positions[1]), Err(SegmentLogError::Damaged(_))));
    assert_eq!(log.read(positions[2]).unwrap(), [3; 60]);
    assert_eq!(log.append(&[4; 60]).unwrap().segment, 3);
}

#[test]
fn damage_before_the_end_is_reported_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &[&[1; 60], &[2; 60]]);
    let path = dir.path().join("00000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (seen, opened) = records(dir.path());
    assert_eq!((seen, opened.damaged, opened.cut_bytes), (vec![vec![2; 60]], vec![0], 0));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SegmentLog::open(dir.path(), |_, _| {}).unwrap();
    let error = log.append(&vec![0; RECORD_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, SegmentLogError::TooLong(_)));
    log.append(&vec![0; RECORD_BYTES_MAX]).unwrap();
}

#[test]
fn after_a_failed_sync_the_log_takes_no_more_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = SegmentLog::open(dir.path(), |_, _| {}).unwrap();
    log.append(b"unsure").unwrap();
    log.failed.store(true, Ordering::Relaxed);
    assert!(matches!(log.append(b"next"), Err(SegmentLogError::Io { .. })));
    assert!(matches!(log.sync(), Err(SegmentLogError::Io { .. })));
    let (mut log, _) = SegmentLog::open(dir.path(), |_, _| {}).unwrap();
    log.append(b"next").unwrap();
    log.sync().unwrap();
}
