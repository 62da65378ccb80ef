//! The hash that names one change of one tree on one node.

use covenant_types::canonical::Writer;
use sha2::{Digest, Sha256};

use super::lookup::Lookup;
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
    let named = spec.map(|spec| Lookup::new(&spec.children));
    for child in running {
        record.text(&child.id).text(child.behaviour.as_deref().unwrap_or_default());
        let node = match child.children.is_empty() {
            true => None, // nothing below to leave out
            false => named.as_ref().and_then(|named| named.find(&child.id)).map(|(_, node)| node),
        };
        let below = node.and_then(|node| match &node.work {
            Work::Tree(below) => Some(below),
            Work::Behaviour { .. } => None,
        });
        structure(&child.children, below, record);
    }
}
