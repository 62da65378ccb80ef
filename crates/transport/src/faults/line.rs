//! What one fault does to one datagram: pure, with the time given and the random numbers from a generator of its own.

use std::time::Duration;

use covenant_types::Uptime;
use rand::Rng;
use rand::rngs::StdRng;

use super::{Fault, Ratio};

/// One direction of one fault, and what it remembers from datagram to datagram.
#[derive(Debug)]
pub(super) struct Line {
    rng: StdRng,
    /// Whether a burst of loss is under way.
    in_burst: bool,
    /// When the last datagram that keeps its order arrives.
    last_arrival: Uptime,
    /// When a line of limited bandwidth has sent what it has taken.
    free_at: Uptime,
}

/// What came of a datagram at one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Untouched,
    /// Later: at this moment.
    Delayed(Uptime),
    Doubled,
    Lost,
    Blocked,
}

impl Line {
    pub(super) fn new(rng: StdRng) -> Self {
        Self { rng, in_burst: false, last_arrival: Uptime::ZERO, free_at: Uptime::ZERO }
    }

    /// What `fault`, set at `began`, does to a datagram of `bytes` that reaches it at `at`.
    pub(super) fn pass(&mut self, fault: &Fault, began: Uptime, at: Uptime, bytes: usize) -> Outcome {
        let [first, second] = self.draw();
        match *fault {
            Fault::Partition => Outcome::Blocked,
            Fault::Loss { ratio, burst } => {
                let is_lost = if burst > 1 { self.burst(ratio, burst, first) } else { first < ratio.value() };
                if is_lost { Outcome::Lost } else { Outcome::Untouched }
            }
            Fault::Duplicate { ratio } if first < ratio.value() => Outcome::Doubled,
            Fault::Reorder { ratio, delay } if first < ratio.value() => Outcome::Delayed(at.after(delay)),
            Fault::Duplicate { .. } | Fault::Reorder { .. } => Outcome::Untouched,
            Fault::Latency { delay, jitter } => {
                let delay = delay.saturating_sub(jitter) + (2 * jitter).mul_f64(second);
                self.in_order(at.after(delay))
            }
            Fault::Spike { delay, every, length } => {
                let into = at.since(began).as_nanos() % every.as_nanos().max(1);
                // The last of a spike arrives before the first after it.
                self.in_order(if into < length.as_nanos() { at.after(delay) } else { at })
            }
            Fault::Bandwidth { bits_per_second, queue_bytes } => self.squeeze(bits_per_second, queue_bytes, at, bytes),
        }
    }

    /// Draws what a datagram would have taken that another fault took away.
    pub(super) fn skip(&mut self) {
        self.draw();
    }

    /// Two numbers from 0 to below 1. Always two, so that the next datagram's do not depend on what came of this one.
    fn draw(&mut self) -> [f64; 2] {
        [self.rng.random(), self.rng.random()]
    }

    /// Whether this datagram falls into a burst. In the mean `ratio` of all do, `burst` of them one after another.
    fn burst(&mut self, ratio: Ratio, burst: u32, draw: f64) -> bool {
        let ratio = ratio.value();
        let mut ends = 1.0 / f64::from(burst);
        let mut begins = ratio * ends / (1.0 - ratio).max(f64::EPSILON);
        if begins > 1.0 {
            // More are lost than bursts of this length with one datagram between them: they become longer.
            (begins, ends) = (1.0, (1.0 - ratio) / ratio);
        }
        self.in_burst = if self.in_burst { draw >= ends } else { draw < begins };
        self.in_burst
    }

    fn in_order(&mut self, arrival: Uptime) -> Outcome {
        self.last_arrival = self.last_arrival.max(arrival);
        Outcome::Delayed(self.last_arrival)
    }

    fn squeeze(&mut self, bits_per_second: u64, queue_bytes: u64, at: Uptime, bytes: usize) -> Outcome {
        let takes = |bytes: u64| {
            let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(bits_per_second.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(HEADER_BYTES);
        if self.free_at.since(at) > takes(queue_bytes.saturating_sub(bytes)) {
            return Outcome::Lost;
        }
        self.free_at = self.free_at.max(at).after(takes(bytes));
        Outcome::Delayed(self.free_at)
    }
}

/// What IPv4 and UDP add to each datagram.
const HEADER_BYTES: u64 = 28;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn line(seed: u64) -> Line {
        Line::new(StdRng::seed_from_u64(seed))
    }

    fn ratio(value: f64) -> Ratio {
        Ratio::try_from(value).unwrap()
    }

    fn at(millis: u64) -> Uptime {
        Uptime::from_millis(millis)
    }

    const MS: Duration = Duration::from_millis(1);

    /// Of 100,000 datagrams: how many were lost, and in how many bursts.
    fn lose(fault: &Fault) -> (usize, usize) {
        let mut line = line(7);
        let lost: Vec<bool> = (0..100_000).map(|_| line.pass(fault, at(0), at(0), 1200) == Outcome::Lost).collect();
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        (lost.iter().filter(|lost| **lost).count(), bursts)
    }

    #[test]
    fn as_many_are_lost_as_was_said_alone_or_in_bursts() {
        let (lost, bursts) = lose(&Fault::Loss { ratio: ratio(0.2), burst: 1 });
        assert!((19_000..21_000).contains(&lost), "{lost}");
        // Lost by themselves: four of five are followed by one that arrives.
        assert!((15_000..17_000).contains(&bursts), "{bursts}");
        let (lost, bursts) = lose(&Fault::Loss { ratio: ratio(0.2), burst: 10 });
        assert!((18_000..22_000).contains(&lost), "{lost}");
        assert!((1_700..2_300).contains(&bursts), "{bursts}");
        let (lost, _) = lose(&Fault::Loss { ratio: ratio(0.9), burst: 2 });
        assert!((88_000..92_000).contains(&lost), "{lost}");
        assert_eq!(lose(&Fault::Loss { ratio: ratio(1.0), burst: 5 }).0, 100_000);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_keeps_the_order() {
        let mut line = line(1);
        let fault = Fault::Latency { delay: 50 * MS, jitter: 20 * MS };
        let mut last = at(0);
        for millis in 0..1000 {
            let Outcome::Delayed(arrival) = line.pass(&fault, at(0), at(millis), 100) else { panic!("delayed") };
            assert!(arrival >= last && arrival >= at(millis + 30) && arrival <= at(millis + 70), "{arrival} {millis}");
            last = arrival;
        }
    }

    #[test]
    fn a_spike_is_there_for_its_length_and_gone_until_the_next() {
        let mut line = line(1);
        let fault = Fault::Spike { delay: 100 * MS, every: 1000 * MS, length: 10 * MS };
        let began = at(5000);
        assert_eq!(line.pass(&fault, began, at(5000), 1), Outcome::Delayed(at(5100)));
        assert_eq!(line.pass(&fault, began, at(5010), 1), Outcome::Delayed(at(5100)), "none overtakes the spike");
        assert_eq!(line.pass(&fault, began, at(5500), 1), Outcome::Delayed(at(5500)));
        assert_eq!(line.pass(&fault, began, at(6009), 1), Outcome::Delayed(at(6109)));
    }

    #[test]
    fn a_narrow_line_takes_its_time_and_loses_what_its_queue_does_not_hold() {
        let mut line = line(1);
        // A byte in a millisecond, and ten datagrams of 1000 with their headers in the queue.
        let fault = Fault::Bandwidth { bits_per_second: 8000, queue_bytes: 10_280 };
        let outcomes: Vec<_> = (0..12).map(|_| line.pass(&fault, at(0), at(0), 1000)).collect();
        for (place, outcome) in (1..=10).zip(&outcomes) {
            assert_eq!(*outcome, Outcome::Delayed(at(place * 1028)));
        }
        assert_eq!(outcomes[10..], [Outcome::Lost, Outcome::Lost]);
        assert_eq!(line.pass(&fault, at(0), at(1028), 1000), Outcome::Delayed(at(11 * 1028)), "one has left");
        assert_eq!(line.pass(&fault, at(0), at(60_000), 1000), Outcome::Delayed(at(61_028)), "the line was idle");
    }
}
