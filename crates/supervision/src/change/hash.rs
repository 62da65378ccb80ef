//! The hash that names one change of one tree on one node.

use covenant_types::canonical::Writer;
use sha2::{Digest, Sha256};

use super::{RunningChild, Tree, is_dynamic};
use crate::files::hex;
use crate::{TreeSpec, Work};

pub(super) fn of_plan(node: &str, in_force: Tree<'_>, running: &[RunningChild], to: Tree<'_>) -> String {
    let mut record = Writer::new("covenant/tree-plan/1");
    record.text(node).text(in_force.hash).text(to.hash);
    structure(running, Some(in_force.spec), &mut record);
    hex(&Sha256::digest(record.finish()))
}

/// Ids and behaviours, in order. Instances of a dynamic supervisor are left out.
fn structure(running: &[RunningChild], spec: Option<&TreeSpec>, record: &mut Writer) {
    if spec.is_some_and(is_dynamic) {
        record.count(0);
        return;
    }
    record.count(running.len());
    for (at, child) in running.iter().enumerate() {
        record.text(&child.id).text(child.behaviour.as_deref().unwrap_or_default());
        // Mostly the order is that of the file.
        let same = |node: &&crate::ChildNode| node.spec.id.as_str() == child.id;
        let node = spec.and_then(|spec| {
            spec.children.get(at).filter(same).or_else(|| match child.children.is_empty() {
                true => None,
                false => spec.children.iter().find(same),
            })
        });
        let below = node.and_then(|node| match &node.work {
            Work::Tree(below) => Some(below),
            Work::Behaviour { .. } => None,
        });
        structure(&child.children, below, record);
    }
}
