//! How far this node trusts its own ears (Lifeguard's local health multiplier; Dadgar, Phillips, Currey: "Lifeguard: Local
//! Health Awareness for More Accurate Failure Detection", 2018).
//!
//! A node that is slow, or badly connected, sees silence where there is none. What it hears of its own trouble makes it
//! probe more slowly and suspect for longer, until probes are answered again.

/// The most patient a node gets: everything takes nine times as long.
pub(crate) const PATIENCE_MAX: u8 = 8;

/// From 0, well, to [`PATIENCE_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalHealth(u8);

impl LocalHealth {
    /// A probe was answered by nobody, others had to be told that we live, or we were late ourselves.
    pub(crate) fn trouble(&mut self) {
        self.0 = (self.0 + 1).min(PATIENCE_MAX);
    }

    /// A probe was answered.
    pub(crate) fn answered(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// By how much everything is to take longer.
    pub(crate) fn factor(self) -> u32 {
        1 + u32::from(self.0)
    }

    /// From 0, well, to 8.
    pub(crate) fn score(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_makes_patient_up_to_a_bound_and_answers_bring_it_back() {
        let mut health = LocalHealth::default();
        (0..20).for_each(|_| health.trouble());
        assert_eq!((health.score(), health.factor()), (PATIENCE_MAX, 9));
        (0..8).for_each(|_| health.answered());
        assert_eq!(health.factor(), 1);
        health.answered();
        assert_eq!(health.score(), 0);
    }
}
