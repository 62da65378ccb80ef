//! The pause before a restart: doubles with every restart in a row, never beyond its maximum, jitter included.

use std::time::Duration;

/// How long to wait before a child is started again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// The longest pause.
    pub max: Duration,
    /// How much of a pause is drawn by lot, 0 to 1: the pause lies in `[d * (1 - jitter), d]`.
    pub jitter: f64,
    /// A child that ran this long begins with the first pause again.
    pub reset_after: Duration,
}

impl Backoff {
    /// Whether the bounds agree with each other.
    pub fn is_valid(&self) -> bool {
        !self.min.is_zero() && self.min <= self.max && (0.0..=1.0).contains(&self.jitter)
    }

    /// The pause before restart number `n`, counted from zero, where `lot` is drawn evenly from 0 to 1.
    pub(crate) fn pause(&self, n: u32, lot: f64) -> Duration {
        let doubled = 2u32.checked_pow(n).and_then(|factor| self.min.checked_mul(factor));
        let full = doubled.unwrap_or(self.max).min(self.max);
        let share = (1.0 - self.jitter * lot.clamp(0.0, 1.0)).clamp(0.0, 1.0);
        // Fails for pauses that are longer than a float can tell from the longest there is.
        Duration::try_from_secs_f64(full.as_secs_f64() * share).map_or(full, |pause| pause.min(full))
    }
}

/// Lots for the jitter: splitmix64, seeded, so that a simulation replays them.
#[derive(Clone, Debug)]
pub(crate) struct Lots(u64);

impl Lots {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly between 0 and 1.
    pub(crate) fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 32 bits over 2^32: exact in an f64.
        f64::from(u32::try_from(z >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        min: Duration::from_secs(1),
        max: Duration::from_secs(10),
        jitter: 0.5,
        reset_after: Duration::from_secs(60),
    };

    #[test]
    fn pauses_double_up_to_their_maximum() {
        let pauses: Vec<u64> = (0..6).map(|n| BACKOFF.pause(n, 0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        assert_eq!(BACKOFF.pause(u32::MAX, 0.0), BACKOFF.max);
    }

    #[test]
    fn the_longest_pause_there_is_does_not_overflow() {
        let endless = Backoff { max: Duration::MAX, jitter: 0.0, ..BACKOFF };
        assert_eq!(endless.pause(u32::MAX, 0.5), Duration::MAX);
    }

    #[test]
    fn backoffs_that_contradict_themselves_are_not_valid() {
        assert!(BACKOFF.is_valid());
        let zero = Duration::ZERO;
        assert!(!Backoff { min: zero, ..BACKOFF }.is_valid());
        assert!(!Backoff { max: BACKOFF.min / 2, ..BACKOFF }.is_valid());
        for jitter in [-0.1, 1.1, f64::NAN] {
            assert!(!Backoff { jitter, ..BACKOFF }.is_valid());
        }
    }

    #[test]
    fn jitter_stays_inside_the_cap() {
        let mut lots = Lots::new(1);
        for n in 0..1000 {
            let (full, pause) = (BACKOFF.pause(n % 8, 0.0), BACKOFF.pause(n % 8, lots.draw()));
            assert!(pause <= full && pause >= full / 2, "{pause:?} of {full:?}");
        }
        assert_ne!(BACKOFF.pause(3, lots.draw()), BACKOFF.pause(3, lots.draw()), "and there is some");
    }
}
