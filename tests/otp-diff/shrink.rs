//! Makes a case smaller for as long as it still shows what it shows.

use covenant_supervision::{TreeSpec, Work};

use crate::case::Case;

/// Smaller cases that are tried at most.
const TRIES_MAX: usize = 2000;

/// The smallest case found that `still` holds for, by leaving out events and children.
pub(crate) fn shrink(case: Case, mut still: impl FnMut(&Case) -> bool) -> Case {
    let (mut smallest, mut tries) = (case, 0);
    loop {
        let smaller = candidates(&smallest).find(|candidate| {
            tries += 1;
            tries <= TRIES_MAX && candidate.tree.is_valid() && still(candidate)
        });
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

fn candidates(case: &Case) -> impl Iterator<Item = Case> {
    let fewer_events = (0..case.events.len()).rev().map(|at| {
        let mut smaller = case.clone();
        smaller.events.remove(at);
        smaller
    });
    let fewer_children = (0..count(&case.tree)).rev().map(|at| {
        let mut smaller = case.clone();
        remove(&mut smaller.tree, &mut { at });
        smaller
    });
    fewer_events.chain(fewer_children)
}

trait Valid {
    fn is_valid(&self) -> bool;
}

impl Valid for TreeSpec {
    fn is_valid(&self) -> bool {
        let below = |work: &Work| match work {
            Work::Tree(tree) => tree.is_valid(),
            Work::Behaviour { .. } => true,
        };
        self.spec.validate().is_ok() && self.children.iter().all(|node| below(&node.work))
    }
}

/// The children of all supervisors of a tree.
fn count(tree: &TreeSpec) -> usize {
    let below = |work: &Work| match work {
        Work::Tree(tree) => count(tree),
        Work::Behaviour { .. } => 0,
    };
    tree.children.iter().map(|node| 1 + below(&node.work)).sum()
}

/// Removes the child number `at` of all, counted from the root down. Says whether it was here.
fn remove(tree: &mut TreeSpec, at: &mut usize) -> bool {
    for place in 0..tree.children.len() {
        if *at == 0 {
            tree.children.remove(place);
            tree.spec.children.remove(place);
            return true;
        }
        *at -= 1;
        if let Work::Tree(below) = &mut tree.children[place].work
            && remove(below, at)
        {
            return true;
        }
    }
    false
}
