//! Messages a second: how much further the counters are than at the last look.

use std::collections::BTreeMap;

use covenant_env::{Clock, RealClock};
use covenant_runtime::TreeView;
use covenant_types::{ActorPath, Uptime};

/// Messages a second, by path.
pub(crate) type RatesView = BTreeMap<ActorPath, f64>;

/// What the counters of one tree said last.
pub(crate) struct Rates {
    clock: RealClock,
    last: Option<(Uptime, BTreeMap<ActorPath, u64>)>,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self { clock: RealClock::new(), last: None }
    }

    /// Looks at the counters. Nothing can be said at the first look, nor of an actor that was not there at the last.
    pub(crate) fn count(&mut self, tree: &TreeView) -> RatesView {
        let now = self.clock.now();
        let mut handled = BTreeMap::new();
        collect(tree, &mut handled);
        let rates = match &self.last {
            Some((then, before)) => between(before, &handled, now.since(*then).as_secs_f64()),
            None => RatesView::new(),
        };
        self.last = Some((now, handled));
        rates
    }
}

fn collect(tree: &TreeView, into: &mut BTreeMap<ActorPath, u64>) {
    into.insert(tree.path.clone(), tree.handled);
    tree.children.iter().for_each(|child| collect(child, into));
}

/// A counter that went back belongs to a node that has started again, and says nothing yet.
fn between(before: &BTreeMap<ActorPath, u64>, now: &BTreeMap<ActorPath, u64>, seconds: f64) -> RatesView {
    let rate = |(path, handled): (&ActorPath, &u64)| {
        let more = handled.checked_sub(*before.get(path)?)?;
        let more = u32::try_from(more).map_or(f64::INFINITY, f64::from);
        (seconds > 0.0).then(|| (path.clone(), more / seconds))
    };
    now.iter().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(values: &[(&str, u64)]) -> BTreeMap<ActorPath, u64> {
        values.iter().map(|(path, handled)| (path.parse().unwrap(), *handled)).collect()
    }

    #[test]
    fn a_rate_is_what_was_handled_since_over_the_time() {
        let before = counters(&[("/a", 10), ("/b", 10)]);
        let rates = between(&before, &counters(&[("/a", 15), ("/b", 10), ("/new", 7)]), 2.0);
        assert_eq!(rates, [("/a".parse().unwrap(), 2.5), ("/b".parse().unwrap(), 0.0)].into());
    }

    #[test]
    fn nothing_is_said_of_a_counter_that_went_back() {
        assert!(between(&counters(&[("/a", 10)]), &counters(&[("/a", 2)]), 1.0).is_empty());
        assert!(between(&counters(&[("/a", 1)]), &counters(&[("/a", 2)]), 0.0).is_empty());
    }
}
