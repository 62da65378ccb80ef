//! The lane under many senders, small capacities, crashing readers and senders that give up.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::*;

/// Sender and number.
type Message = (usize, u32);

#[derive(Clone)]
struct TestBell(Arc<Notify>);

impl Bell for TestBell {
    fn ring(self) {
        self.0.notify_one();
    }
}

/// One incarnation: reads until it has read `all` over all incarnations, or "crashes" at a number that is due.
async fn read(
    lane: &Lane<Message, TestBell>,
    batch_max: usize,
    all: usize,
    crash_every: Option<u32>,
    got: &mut Vec<Message>,
) -> Reader {
    let bell = TestBell(Arc::new(Notify::new()));
    let reader = lane.attach(bell.clone());
    while got.len() < all {
        bell.0.notified().await;
        let mut batch = lane.take();
        for _ in 0..batch_max {
            let Some(message) = batch.next() else { break };
            got.push(message);
            assert!(lane.depth() <= lane.capacity(), "more than the capacity");
            if crash_every.is_some_and(|every| got.len().is_multiple_of(every as usize)) {
                return reader; // drops the batch as a panic, an `Err` and a kill do
            }
        }
        if batch.finish() {
            bell.clone().ring();
            tokio::task::yield_now().await;
        }
    }
    reader
}

fn runtimes() -> Vec<Runtime> {
    let threads = |n| Builder::new_multi_thread().worker_threads(n).enable_all().build().unwrap();
    vec![Builder::new_current_thread().enable_all().build().unwrap(), threads(1), threads(2), threads(4)]
}

/// Everything arrives, once, each sender's messages in order.
fn check(senders: usize, capacity: usize, batch_max: usize, crash_every: Option<u32>) {
    const EACH: u32 = 300;
    for runtime in runtimes() {
        runtime.block_on(async {
            let lane = Arc::new(Lane::new(capacity, Overflow::Wait));
            let tasks: Vec<_> = (0..senders)
                .map(|sender| {
                    let lane = Arc::clone(&lane);
                    #[expect(clippy::disallowed_methods, reason = "a test of its own runtime")]
                    tokio::spawn(async move {
                        for number in 0..EACH {
                            match lane.try_send((sender, number)) {
                                Ok(()) => {}
                                Err(Refused::Full(back)) => lane.send_slow(back).await.unwrap(),
                                Err(Refused::Closed(_)) => panic!("nobody closes it"),
                            }
                        }
                    })
                })
                .collect();
            let all = senders * EACH as usize;
            let mut got = Vec::new();
            let reading = async {
                while got.len() < all {
                    let reader = read(&lane, batch_max, all, crash_every, &mut got).await;
                    lane.detach(reader);
                }
            };
            tokio::time::timeout(Duration::from_secs(30), reading).await.expect("a wake-up was lost");
            for task in tasks {
                task.await.unwrap();
            }
            for sender in 0..senders {
                let numbers: Vec<u32> = got.iter().filter(|(from, _)| *from == sender).map(|(_, n)| *n).collect();
                assert_eq!(numbers, Vec::from_iter(0..EACH), "sender {sender}");
            }
            assert_eq!(lane.depth(), 0);
        });
    }
}

#[test]
fn nothing_is_lost_doubled_or_reordered_for_any_number_of_senders_and_any_capacity() {
    for senders in [1, 2, 4, 8] {
        for capacity in [1, 2, 7, 64, 1024] {
            check(senders, capacity, 256, None);
        }
    }
}

#[test]
fn small_batches_lose_nothing() {
    for capacity in [1, 2, 7, 64] {
        check(4, capacity, 1, None);
    }
}

#[test]
fn readers_that_crash_lose_nothing_that_waited() {
    for capacity in [1, 2, 7, 64] {
        check(4, capacity, 64, Some(101));
    }
}

#[tokio::test]
async fn a_sender_that_gives_up_passes_its_wake_up_on() {
    let lane = Arc::new(Lane::<u32, TestBell>::new(1, Overflow::Wait));
    lane.try_send(0).unwrap();
    let bell = TestBell(Arc::new(Notify::new()));
    lane.attach(bell);
    // Two wait; the first gives up in the moment in which it is woken.
    let mut first = Box::pin(lane.send_slow(1));
    let mut second = Box::pin(lane.send_slow(2));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(0));
    batch.finish();
    drop(first);
    tokio::time::timeout(Duration::from_secs(5), second).await.expect("the wake-up was lost").unwrap();
}

#[test]
fn a_sender_rings_only_when_nobody_is_about_to_look() {
    #[derive(Clone)]
    struct Counter(Arc<AtomicUsize>);
    impl Bell for Counter {
        fn ring(self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let rings = Arc::new(AtomicUsize::new(0));
    let lane = Lane::new(8, Overflow::Wait);
    lane.try_send(1).unwrap(); // no reader yet
    lane.attach(Counter(Arc::clone(&rings)));
    assert_eq!(rings.load(Ordering::Relaxed), 1, "attaching to waiting messages rings");
    lane.try_send(2).unwrap();
    let mut batch = lane.take();
    lane.try_send(3).unwrap();
    assert_eq!(rings.load(Ordering::Relaxed), 1, "the batch will look");
    assert_eq!((batch.next(), batch.next(), batch.next()), (Some(1), Some(2), None));
    assert!(batch.finish(), "it must come again for 3");
    let mut batch = lane.take();
    assert_eq!((batch.next(), batch.finish()), (Some(3), false));
    lane.try_send(4).unwrap();
    assert_eq!(rings.load(Ordering::Relaxed), 2);
}

#[test]
fn an_interrupted_batch_gives_the_rest_back_in_order() {
    let lane = Lane::<u32, TestBell>::new(8, Overflow::Wait);
    (0..4).for_each(|number| lane.try_send(number).unwrap());
    let reader = lane.attach(TestBell(Arc::new(Notify::new())));
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(0));
    lane.interrupt();
    assert_eq!(batch.next(), None);
    drop(batch);
    lane.detach(reader);
    let next = TestBell(Arc::new(Notify::new()));
    lane.attach(next.clone()); // the next incarnation
    assert_eq!(next.0.notified().now_or_never(), Some(()), "it is woken for what was given back");
    lane.try_send(4).unwrap();
    let mut batch = lane.take();
    assert_eq!(Vec::from_iter(std::iter::from_fn(|| batch.next())), [1, 2, 3]);
    assert!(batch.finish());
    assert_eq!(lane.take().next(), Some(4));
}

#[test]
fn a_reader_that_was_replaced_reads_no_more_and_gives_back_what_it_held() {
    let lane = Lane::<u32, TestBell>::new(8, Overflow::Wait);
    (0..3).for_each(|number| lane.try_send(number).unwrap());
    let old = lane.attach(TestBell(Arc::new(Notify::new())));
    let mut stuck = lane.take();
    assert_eq!(stuck.next(), Some(0));
    lane.interrupt(); // it is killed, and does not end
    let bell = TestBell(Arc::new(Notify::new()));
    lane.attach(bell.clone());
    (3..6).for_each(|number| lane.try_send(number).unwrap());
    assert_eq!(bell.0.notified().now_or_never(), Some(()));
    let mut batch = lane.take();
    assert_eq!((batch.next(), stuck.next()), (Some(3), None), "only the new one reads");
    drop(stuck);
    lane.detach(old);
    assert!(batch.finish(), "what came back waits");
    let mut batch = lane.take();
    assert_eq!(Vec::from_iter(std::iter::from_fn(|| batch.next())), [4, 5, 1, 2], "nothing is lost");
    assert!(!batch.finish());
    lane.try_send(6).unwrap();
    assert_eq!(bell.0.notified().now_or_never(), Some(()), "the new reader is still attached");
}

#[tokio::test]
async fn closing_returns_what_waits_and_refuses_blocked_and_later_senders_until_it_reopens() {
    let lane = Lane::<u32, TestBell>::new(1, Overflow::Wait);
    lane.try_send(1).unwrap();
    let mut blocked = Box::pin(lane.send_slow(2));
    assert!(futures_util::poll!(blocked.as_mut()).is_pending());
    let (front, queue) = lane.close();
    assert_eq!(front.into_iter().chain(queue).collect::<Vec<_>>(), [1]);
    assert_eq!(blocked.await, Err(2));
    assert_eq!(lane.try_send(3), Err(Refused::Closed(3)));
    lane.reopen();
    assert_eq!(lane.try_send(4), Ok(()));
}

#[test]
fn a_batch_that_outlives_its_lane_does_not_fill_it_again() {
    let lane = Lane::<u32, TestBell>::new(4, Overflow::Wait);
    (0..3).for_each(|number| lane.try_send(number).unwrap());
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(0));
    drop(lane.close());
    drop(batch);
    assert_eq!(lane.depth(), 0);
}

#[test]
fn an_evicting_lane_drops_the_oldest_that_waits_and_never_the_one_in_hand() {
    let lane = Lane::<u32, TestBell>::new(2, Overflow::DropOldest);
    assert_eq!([lane.send_evicting(1), lane.send_evicting(2)], [Ok(None), Ok(None)]);
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(1));
    assert_eq!([lane.send_evicting(3), lane.send_evicting(4)], [Ok(None), Ok(Some(2))]);
    assert_eq!((batch.next(), batch.next(), batch.next()), (Some(3), Some(4), None));
    assert!(!batch.finish());
}

#[test]
fn an_idle_lane_keeps_no_large_buffer() {
    let lane = Lane::<u64, TestBell>::new(100_000, Overflow::Wait);
    (0..50_000).for_each(|number| lane.try_send(number).unwrap());
    let mut batch = lane.take();
    (0..50_000).for_each(|number| lane.try_send(number).unwrap());
    while batch.next().is_some() {}
    assert!(batch.finish());
    let mut batch = lane.take();
    while batch.next().is_some() {}
    assert!(!batch.finish());
    let inner = lane.lock();
    assert!(inner.queue.capacity() <= IDLE_CAPACITY_MAX && inner.front.capacity() <= IDLE_CAPACITY_MAX);
}

#[test]
fn a_draining_lane_refuses_senders_and_keeps_what_waits_until_that_is_discarded() {
    let lane = Lane::<u32, TestBell>::new(9, Overflow::Wait);
    (0..4).for_each(|number| lane.try_send(number).unwrap());
    assert!(lane.discard().0.is_empty(), "an open lane discards nothing");
    lane.drain();
    assert_eq!(lane.try_send(4), Err(Refused::Closed(4)));
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(0));
    assert!(batch.finish(), "the rest is there for the next batch");
    let mut batch = lane.take();
    assert_eq!(batch.next(), Some(1));
    assert!(lane.discard().1.is_empty());
    drop(batch);
    assert_eq!(lane.discard().0, [2, 3], "given back, and for nobody");
    lane.reopen();
    assert_eq!((lane.try_send(5), lane.depth()), (Ok(()), 1));
}
