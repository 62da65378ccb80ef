//! The last minute of every rate, as a line of small bars.

use std::collections::{BTreeMap, VecDeque};

use covenant_types::ActorPath;

use super::snapshot::TopSnapshot;

/// How many looks are remembered.
const LOOKS_MAX: usize = 60;
/// From nothing to the most there was.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What the rates were at the last looks.
#[derive(Debug, Default)]
pub(super) struct History {
    nodes: BTreeMap<String, VecDeque<f64>>,
    actors: BTreeMap<(String, ActorPath), VecDeque<f64>>,
}

impl History {
    /// Notes a look, and forgets those who are no more.
    pub(super) fn add(&mut self, snapshot: &TopSnapshot) {
        let (mut nodes, mut actors) = (BTreeMap::new(), BTreeMap::new());
        for node in &snapshot.nodes {
            nodes.insert(node.name.clone(), longer(self.nodes.remove(&node.name), node.per_second));
            for (path, rate) in &node.rates {
                let key = (node.name.clone(), path.clone());
                let line = longer(self.actors.remove(&key), *rate);
                actors.insert(key, line);
            }
        }
        (self.nodes, self.actors) = (nodes, actors);
    }

    /// The newest `width` looks at a node.
    pub(super) fn node(&self, name: &str, width: usize) -> String {
        self.nodes.get(name).map_or_else(String::new, |line| bars(line, width))
    }

    /// The newest `width` looks at an actor.
    pub(super) fn actor(&self, node: &str, path: &ActorPath, width: usize) -> String {
        let key = (node.to_owned(), path.clone());
        self.actors.get(&key).map_or_else(String::new, |line| bars(line, width))
    }
}

fn longer(line: Option<VecDeque<f64>>, rate: f64) -> VecDeque<f64> {
    let mut line = line.unwrap_or_default();
    if line.len() == LOOKS_MAX {
        line.pop_front();
    }
    line.push_back(rate);
    line
}

fn bars(line: &VecDeque<f64>, width: usize) -> String {
    let most = line.iter().copied().fold(0.0, f64::max);
    line.iter().skip(line.len().saturating_sub(width)).map(|rate| bar(*rate, most)).collect()
}

/// The smallest bar that is not lower than `rate`: something is never drawn as nothing.
fn bar(rate: f64, most: f64) -> char {
    let steps = (1u8..).zip(&BARS[1..]);
    let fits = |step: u8| rate * 8.0 <= most * f64::from(step);
    match rate > 0.0 {
        true => steps.into_iter().find(|(step, _)| fits(*step)).map_or(BARS[8], |(_, bar)| *bar),
        false => BARS[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_nothing_to_the_most_there_was() {
        let line = VecDeque::from([0.0, 0.01, 4.0, 8.0]);
        assert_eq!(bars(&line, 10), " ▁▄█");
        assert_eq!(bars(&line, 2), "▄█", "the newest");
        assert_eq!(bars(&VecDeque::from([0.0, 0.0]), 5), "  ");
    }

    #[test]
    fn a_minute_is_remembered() {
        let line = (0..100).fold(None, |line, at| Some(longer(line, f64::from(at))));
        let line = line.unwrap();
        assert_eq!((line.len(), line[0]), (LOOKS_MAX, 40.0));
    }
}
