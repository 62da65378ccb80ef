//! What differs between two specs, in words.

use std::fmt::{Debug, Display};

use covenant_types::format_duration;

use super::lookup::Lookup;
use super::{RunningChild, is_dynamic};
use crate::{Backoff, Budget, ChildNode, Host, Shutdown, TreeSpec, Work};

/// Why `after` cannot run on as what runs now; empty where it can.
pub(super) fn restart_of(before: &ChildNode, runs: &RunningChild, after: &ChildNode) -> Vec<String> {
    if runs_the_same(before, runs, after) {
        return Vec::new();
    }
    let mut why = Vec::new();
    let now = runs.behaviour.clone().unwrap_or_else(|| work(before));
    if let (Work::Tree(before), Work::Tree(after), None) = (&before.work, &after.work, &runs.behaviour) {
        if before.name != after.name {
            why.push(format!("tree {} -> {}", before.name, after.name));
        } else if is_dynamic(before) != is_dynamic(after) {
            let word = if is_dynamic(after) { "becomes" } else { "is no longer" };
            why.push(format!("it {word} dynamic"));
        } else {
            why.extend(template(before, after));
        }
        return why;
    }
    if now != work(after) {
        why.push(format!("{now} -> {}", work(after)));
        return why;
    }
    if let (Work::Behaviour { config: before, .. }, Work::Behaviour { config: after, .. }) = (&before.work, &after.work)
        && before != after
    {
        why.push("config changed".to_owned());
    }
    differs(&mut why, "mailbox", before.mailbox, after.mailbox, |mailbox| {
        format!("{} {:?}", mailbox.capacity, mailbox.overflow).to_lowercase()
    });
    differs(&mut why, "host", before.host, after.host, |host| match host {
        Host::Hosted => "hosted".to_owned(),
        Host::Light => "light".to_owned(),
    });
    why
}

/// Whether a behaviour and all that it is given are the same. Most are: what follows is worth its allocations then.
fn runs_the_same(before: &ChildNode, runs: &RunningChild, after: &ChildNode) -> bool {
    match (&before.work, &after.work) {
        (Work::Behaviour { config: old, .. }, Work::Behaviour { name, config: new, .. }) => {
            runs.behaviour.as_deref() == Some(name)
                && old == new
                && (before.mailbox, before.host) == (after.mailbox, after.host)
        }
        (Work::Tree(_), _) | (_, Work::Tree(_)) => false,
    }
}

/// Why a dynamic supervisor cannot go on with another template; `None` where it can.
pub(super) fn template(before: &TreeSpec, after: &TreeSpec) -> Option<String> {
    if !is_dynamic(before) || !is_dynamic(after) {
        return None;
    }
    let (Some(old), Some(new)) = (before.children.first(), after.children.first()) else { return None };
    let behaviour = match &old.work {
        Work::Behaviour { name, .. } => Some(name.clone()),
        Work::Tree(_) => None,
    };
    let runs = RunningChild { id: old.spec.id.to_string(), behaviour, children: Vec::new() };
    let mut why = restart_of(old, &runs, new);
    if let (Work::Tree(old), Work::Tree(new)) = (&old.work, &new.work)
        && old != new
    {
        why.push("its tree changed".to_owned());
    }
    if old.spec.id != new.spec.id {
        why.push(format!("id {} -> {}", old.spec.id, new.spec.id));
    }
    (!why.is_empty()).then(|| format!("its template changed: {}", why.join(", ")))
}

/// What changes in how a supervisor supervises, without a restart.
pub(super) fn rules(before: &TreeSpec, after: &TreeSpec) -> Vec<String> {
    let mut rules = Vec::new();
    let (old, new) = (&before.spec, &after.spec);
    differs(&mut rules, "strategy", old.strategy, new.strategy, words);
    differs(&mut rules, "intensity", old.intensity, new.intensity, plain);
    differs(&mut rules, "period", old.period, new.period, format_duration);
    differs(&mut rules, "auto_shutdown", old.auto_shutdown, new.auto_shutdown, words);
    let named = Lookup::new(&before.children);
    for child in &after.children {
        let before = named.find(child.spec.id.as_str()).map(|(_, before)| before);
        if let Some(before) = before.filter(|before| before.spec != child.spec) {
            let mut of_child = Vec::new();
            child_rules(&mut of_child, before, child);
            rules.extend(of_child.into_iter().map(|rule| format!("{}: {rule}", child.spec.id)));
        }
    }
    if order_changes(before, after) {
        rules.push("the start order".to_owned());
    }
    rules
}

fn child_rules(rules: &mut Vec<String>, before: &ChildNode, after: &ChildNode) {
    let (old, new) = (&before.spec, &after.spec);
    differs(rules, "restart", old.restart, new.restart, words);
    differs(rules, "shutdown", old.shutdown, new.shutdown, |shutdown| match shutdown {
        Shutdown::BrutalKill => "brutal_kill".to_owned(),
        Shutdown::Timeout(time) => format_duration(time),
        Shutdown::Infinity => "infinity".to_owned(),
    });
    differs(rules, "significant", old.significant, new.significant, plain);
    differs(rules, "backoff", old.backoff, new.backoff, |backoff| backoff.map_or_else(none, pauses));
    differs(rules, "budget", old.budget, new.budget, |budget: Option<Budget>| {
        budget.map_or_else(none, |budget| format!("{} in {}", budget.intensity, format_duration(budget.period)))
    });
    differs(rules, "kill_grace", old.kill_grace, new.kill_grace, format_duration);
    differs(rules, "allow_overlap", old.allow_overlap, new.allow_overlap, plain);
}

/// Whether children that stay start in another order.
fn order_changes(before: &TreeSpec, after: &TreeSpec) -> bool {
    let named = Lookup::new(&before.children);
    let places = after.children.iter().filter_map(|child| named.find(child.spec.id.as_str())).map(|(at, _)| at);
    !places.is_sorted()
}

/// What a child runs: a behaviour's name, or a tree file's.
pub(super) fn work(child: &ChildNode) -> String {
    match &child.work {
        Work::Behaviour { name, .. } => name.clone(),
        Work::Tree(tree) => format!("{}.toml", tree.name),
    }
}

fn differs<T: PartialEq + Clone>(into: &mut Vec<String>, what: &str, old: T, new: T, show: impl Fn(T) -> String) {
    if old != new {
        into.push(format!("{what} {} -> {}", show(old), show(new)));
    }
}

fn plain<T: Display>(value: T) -> String {
    value.to_string()
}

fn none() -> String {
    "none".to_owned()
}

fn pauses(backoff: Backoff) -> String {
    let Backoff { min, max, jitter, reset_after } = backoff;
    let (min, max, reset) = (format_duration(min), format_duration(max), format_duration(reset_after));
    format!("{min} to {max}, jitter {jitter}, reset after {reset}")
}

/// `OneForAll` as files write it.
fn words(value: impl Debug) -> String {
    let mut text = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}
