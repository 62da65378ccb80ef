//! Names and groups: who has what, who is seen to have it, and who was told that it is gone.
//!
//! What actors have is asked of each node at every check. What nodes see of each other's actors may be late, and in the quiet
//! no later than [`SEEN_MAX`]: whatever is seen was true within it, and whatever was true throughout it is seen by all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_cluster::Claim;
use covenant_types::{NodeId, Region, Scope};

use super::{Actor, Broken};
use crate::whole::identity::region;

/// How late a node may know of a name or a membership in the quiet. With patient nodes news pass four hands, each of which
/// waits up to a second and a half.
const SEEN_MAX: Duration = Duration::from_secs(10);
/// How long the end of an actor that lost its name may take.
const TOLD_MAX: Duration = Duration::from_secs(2);
/// So many members of a group are shown to other regions.
const DELEGATES_MAX: usize = 8;

/// What a node says of its own actors.
#[derive(Clone, Debug, Default)]
pub(in crate::whole) struct Has {
    /// Names, with the paths that have them.
    pub(in crate::whole) names: Vec<(String, String)>,
    /// The names that it claims as far as it knows of no later claim, and since when.
    pub(in crate::whole) claims: Vec<(String, (u64, u32))>,
    /// Groups, with members and how far they are told.
    pub(in crate::whole) members: Vec<(String, Scope, String)>,
}

/// What a node sees of names and groups.
#[derive(Clone, Debug, Default)]
pub(in crate::whole) struct Sees {
    /// Who has each name.
    pub(in crate::whole) holders: Vec<(String, Option<Actor>)>,
    /// The latest claim to each name, with the place of its node.
    pub(in crate::whole) claims: Vec<(String, usize, Claim)>,
    /// Who is in each group, and how many more there are.
    pub(in crate::whole) groups: Vec<(String, Vec<Actor>, u64)>,
    /// The nodes that are there at all for it, down or gone ones left out.
    pub(in crate::whole) there: BTreeSet<usize>,
}

/// For how long an actor had a name, or was in a group.
#[derive(Clone, Debug)]
struct Span {
    of: Actor,
    scope: Scope,
    began: Duration,
    /// When it was last seen to have it.
    last: Duration,
    is_over: bool,
}

impl Span {
    fn touches(&self, since: Duration) -> bool {
        !self.is_over || self.last >= since
    }

    fn covers(&self, since: Duration) -> bool {
        !self.is_over && self.began <= since
    }
}

/// A name that went without anybody having said why.
#[derive(Clone, Debug)]
struct Untold {
    of: Actor,
    name: String,
    /// When it still had it.
    had: Duration,
}

/// Where a claim stands among all claims to its name.
type Rank = ((u64, u32), NodeId);

/// What is known of names and groups.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: BTreeMap<String, Vec<Span>>,
    groups: BTreeMap<String, Vec<Span>>,
    /// Who ever had which name.
    ever: BTreeSet<(Actor, String)>,
    /// When an actor last began, ended or gave a name up: each is a reason for it to have none.
    stirred: BTreeMap<Actor, Duration>,
    untold: Vec<Untold>,
    /// Which actor a claim is of.
    epochs: BTreeMap<(String, (u64, u32), usize), String>,
    /// The claims of each node that stand.
    standing: BTreeMap<usize, BTreeMap<String, (u64, u32)>>,
    /// The claim that a node saw last, and the latest that it ever saw, in its present life.
    seen: BTreeMap<(usize, String), (Rank, usize)>,
    latest: BTreeMap<(usize, String), Rank>,
    /// How often two actors of different nodes had one name, and one was told.
    pub(super) conflicts: u64,
}

impl Names {
    /// An actor took a name.
    pub(super) fn took(&mut self, of: &Actor, name: &str) {
        self.ever.insert((of.clone(), name.to_owned()));
    }

    /// An actor began, ended, or gave something up.
    pub(super) fn stirred(&mut self, now: Duration, of: Actor) {
        self.stirred.insert(of, now);
    }

    /// An actor ended because another one has its name. `winner` is who, as the reason says.
    pub(super) fn conflict(&mut self, now: Duration, of: &Actor, winner: &str, broken: &mut Broken) {
        self.conflicts += 1;
        let Some(winner) = actor(winner) else {
            return broken.note(now, &format!("{} of node {} lost a name to {winner}, which is nobody", of.1, of.0));
        };
        let theirs = self.ever.iter().filter(|(who, _)| *who == winner).map(|(_, name)| name);
        if !theirs.into_iter().any(|name| self.ever.contains(&(of.clone(), name.clone()))) {
            let text = format!("{} of node {} lost a name to {winner:?}, which never had one of its names", of.1, of.0);
            broken.note(now, &text);
        }
    }

    /// A node is on its way out: what its actors have is not known from now on.
    pub(super) fn stopping(&mut self, node: usize) {
        self.standing.remove(&node);
    }

    /// The process of a node has ended, and with it what its actors had.
    pub(super) fn gone(&mut self, node: usize) {
        self.standing.remove(&node);
        for span in self.names.values_mut().chain(self.groups.values_mut()).flatten() {
            span.is_over |= span.of.0 == node;
        }
        self.untold.retain(|untold| untold.of.0 != node);
        self.seen.retain(|(viewer, _), _| *viewer != node);
        self.latest.retain(|(viewer, _), _| *viewer != node);
    }

    /// What the actors of a node have now.
    pub(super) fn has(&mut self, now: Duration, node: usize, has: &Has) {
        for (name, path) in &has.names {
            self.ever.insert(((node, path.clone()), name.clone()));
        }
        let names: BTreeSet<(String, Actor, Scope)> =
            has.names.iter().map(|(name, path)| (name.clone(), (node, path.clone()), Scope::Global)).collect();
        let members: BTreeSet<(String, Actor, Scope)> =
            has.members.iter().map(|(group, scope, path)| (group.clone(), (node, path.clone()), *scope)).collect();
        for (name, Span { of, last, .. }) in note_spans(&mut self.names, now, node, names) {
            self.untold.push(Untold { of, name, had: last });
        }
        note_spans(&mut self.groups, now, node, members);
        self.standing.insert(node, has.claims.iter().cloned().collect());
    }

    /// What a node sees now. `quiet` is since when nothing befalls the nodes.
    pub(super) fn sees(
        &mut self,
        now: Duration,
        quiet: Option<Duration>,
        viewer: usize,
        sees: &Sees,
        broken: &mut Broken,
    ) {
        for (name, node, claim) in &sees.claims {
            self.claim(now, viewer, name, *node, claim, &sees.there, broken);
        }
        let Some(since) = window(now, quiet) else { return };
        for (name, seen) in &sees.holders {
            let spans = self.names.get(name).map_or(&[][..], Vec::as_slice);
            let had: Vec<&Span> = spans.iter().filter(|span| span.touches(since)).collect();
            match seen {
                Some(of) if !had.iter().any(|span| span.of == *of) => {
                    let text = format!("node {viewer} sees {name} at {of:?}, which has not had it for {SEEN_MAX:?}");
                    broken.note(now, &text);
                }
                Some(_) | None => {}
            }
            if let [only] = had.as_slice()
                && only.covers(since)
                && seen.as_ref() != Some(&only.of)
            {
                let of = &only.of;
                let text =
                    format!("node {viewer} sees {name} at {seen:?}, for {SEEN_MAX:?} it has been that of {of:?}");
                broken.note(now, &text);
            }
        }
        for (group, members, unseen) in &sees.groups {
            self.group(now, since, (viewer, group), (members, *unseen), broken);
        }
    }

    /// The latest claim to a name that a node sees.
    #[expect(clippy::too_many_arguments, reason = "what is seen by whom, and what else that one sees")]
    fn claim(
        &mut self,
        now: Duration,
        viewer: usize,
        name: &str,
        node: usize,
        claim: &Claim,
        there: &BTreeSet<usize>,
        broken: &mut Broken,
    ) {
        let (rank, path) = ((claim.since, claim.node), claim.path.to_string());
        // Those of nodes that have not settled yet yield to all, and are not told apart.
        if claim.since != (0, 0) {
            let known = self.epochs.entry((name.to_owned(), claim.since, node)).or_insert_with(|| path.clone());
            if *known != path {
                let text = format!("{name} is that of {known} and of {path} of node {node} in one epoch {rank:?}");
                broken.note(now, &text);
            }
        }
        let key = (viewer, name.to_owned());
        let latest = self.latest.get(&key).copied();
        let before = self.seen.insert(key.clone(), (rank, node));
        if before.is_some_and(|(before, _)| before == rank) {
            return;
        }
        self.latest.insert(key, latest.map_or(rank, |latest| latest.max(rank)));
        let Some((before, at)) = before else { return };
        // What a node claims is later than all it knew.
        if node == viewer && claim.since != (0, 0) && latest.is_some_and(|latest| rank < latest) {
            broken.note(now, &format!("node {viewer} claimed {name} with {rank:?} and had seen {latest:?}"));
        }
        // A claim of its region that still stands, of a node that it holds for there, gives way to a later one alone.
        let stands = self.standing.get(&at).and_then(|claims| claims.get(name)) == Some(&before.0);
        if rank < before && stands && before.0 != (0, 0) && region(at) == region(viewer) && there.contains(&at) {
            broken.note(now, &format!("node {viewer} went back from {before:?} of {name}, which stands, to {rank:?}"));
        }
    }

    fn group(
        &self,
        now: Duration,
        since: Duration,
        (viewer, group): (usize, &str),
        (members, unseen): (&[Actor], u64),
        broken: &mut Broken,
    ) {
        let is_ours = |span: &Span| region(span.of.0) == region(viewer);
        let is_told = |span: &Span| {
            span.of.0 == viewer || (is_ours(span) && span.scope != Scope::Local) || span.scope == Scope::Global
        };
        let spans = self.groups.get(group).map_or(&[][..], Vec::as_slice);
        let there: Vec<&Span> = spans.iter().filter(|span| span.touches(since) && is_told(span)).collect();
        for of in members {
            if !there.iter().any(|span| span.of == *of) {
                let text = format!("node {viewer} sees {of:?} in {group}, which has not been in it for {SEEN_MAX:?}");
                broken.note(now, &text);
            }
        }
        let of_region = |other: &Span| {
            there.iter().filter(|span| span.scope == Scope::Global && region(span.of.0) == region(other.of.0)).count()
        };
        for span in there.iter().filter(|span| span.covers(since)) {
            // Of many only some are shown elsewhere.
            let is_shown = is_ours(span) || of_region(span) <= DELEGATES_MAX;
            if is_shown && !members.contains(&span.of) {
                let of = &span.of;
                let text = format!("node {viewer} does not see {of:?} in {group}, where it has been for {SEEN_MAX:?}");
                broken.note(now, &text);
            }
        }
        if there.iter().all(|span| span.covers(since)) {
            let mut far: BTreeMap<Region, u64> = BTreeMap::new();
            for span in there.iter().filter(|span| !is_ours(span)) {
                *far.entry(region(span.of.0)).or_default() += 1;
            }
            let more: u64 = far.values().map(|count| count.saturating_sub(DELEGATES_MAX as u64)).sum();
            if more != unseen {
                let text = format!("node {viewer} knows of {unseen} more in {group} than it sees, there are {more}");
                broken.note(now, &text);
            }
        }
    }

    /// What must hold at any moment.
    pub(super) fn check(&mut self, now: Duration, quiet: Option<Duration>, broken: &mut Broken) {
        let stirred = &self.stirred;
        self.untold.retain(|Untold { of, name, had }| {
            let is_told = stirred.get(of).is_some_and(|at| at >= had);
            let is_late = now.saturating_sub(*had) > TOLD_MAX;
            if is_late && !is_told {
                let (node, path) = of;
                broken.note(now, &format!("{path} of node {node} lost {name} at {had:?} and was never told"));
            }
            !is_late && !is_told
        });
        let Some(since) = window(now, quiet) else { return };
        for (name, spans) in &self.names {
            let owners: Vec<&Actor> = spans.iter().filter(|span| span.covers(since)).map(|span| &span.of).collect();
            if owners.len() > 1 {
                broken.note(now, &format!("{name} has been that of {owners:?} for {SEEN_MAX:?}"));
            }
        }
    }
}

/// Since when what is seen now must have been so, once there was quiet for that long.
fn window(now: Duration, quiet: Option<Duration>) -> Option<Duration> {
    let since = now.checked_sub(SEEN_MAX)?;
    quiet.is_some_and(|quiet| quiet <= since).then_some(since)
}

/// Notes who of a node has what now, and returns what is over since the last time.
fn note_spans(
    all: &mut BTreeMap<String, Vec<Span>>,
    now: Duration,
    node: usize,
    mut has: BTreeSet<(String, Actor, Scope)>,
) -> Vec<(String, Span)> {
    let mut over = Vec::new();
    for (name, spans) in &mut *all {
        for span in spans.iter_mut().filter(|span| span.of.0 == node && !span.is_over) {
            if has.remove(&(name.clone(), span.of.clone(), span.scope)) {
                span.last = now;
            } else {
                span.is_over = true;
                over.push((name.clone(), span.clone()));
            }
        }
    }
    for (name, of, scope) in has {
        all.entry(name).or_default().push(Span { of, scope, began: now, last: now, is_over: false });
    }
    over
}

/// An actor as reasons name it: `n2:/lab/c0`.
fn actor(text: &str) -> Option<Actor> {
    let (node, path) = text.split_once(':')?;
    Some((node.strip_prefix('n')?.parse().ok()?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn clerk(node: usize) -> Actor {
        (node, "/lab/c0".to_owned())
    }

    fn has(names: &[&str]) -> Has {
        let claims = names.iter().map(|name| ((*name).to_owned(), (8, 1))).collect();
        let names = names.iter().map(|name| ((*name).to_owned(), clerk(0).1)).collect();
        Has { names, claims, members: Vec::new() }
    }

    fn joined(scope: Scope) -> Has {
        Has { members: vec![("crew".to_owned(), scope, clerk(0).1)], ..Has::default() }
    }

    fn holder(of: Option<usize>) -> Sees {
        Sees { holders: vec![("desk".to_owned(), of.map(clerk))], ..Sees::default() }
    }

    fn crew(of: &[usize], unseen: u64) -> Sees {
        Sees {
            groups: vec![("crew".to_owned(), of.iter().map(|node| clerk(*node)).collect(), unseen)],
            ..Sees::default()
        }
    }

    fn claim(node: u8, second: u64, path: &str) -> Sees {
        let claim = Claim { node: NodeId([node; 16]), path: path.parse().unwrap(), since: (second, 1) };
        Sees { claims: vec![("desk".to_owned(), node.into(), claim)], there: (0..9).collect(), ..Sees::default() }
    }

    /// Names that are told `tell`, and what is broken then.
    fn check(tell: impl FnOnce(&mut Names, &mut Broken), expected: &str) {
        let (mut names, mut broken) = (Names::default(), Broken::default());
        tell(&mut names, &mut broken);
        let found = broken.all().join("\n");
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "found: {found}");
    }

    /// Every second from `from` to `to` these nodes have the name `desk`, and node 7 sees it so.
    fn reign(names: &mut Names, broken: &mut Broken, (from, to): (u64, u64), nodes: &[usize], sees: &Sees) {
        for second in from..to {
            nodes.iter().for_each(|node| names.has(at(second), *node, &has(&["desk"])));
            names.sees(at(second), Some(at(0)), 7, sees, broken);
            names.check(at(second), Some(at(0)), broken);
        }
    }

    #[test]
    fn two_owners_that_stay_are_found_in_the_quiet_and_those_of_a_moment_are_not() {
        check(|names, broken| reign(names, broken, (0, 30), &[0, 1], &holder(Some(1))), "has been that of");
        check(|names, broken| reign(names, broken, (0, 9), &[0, 1], &holder(Some(1))), "");
    }

    #[test]
    fn a_node_that_resolves_a_name_otherwise_is_found_and_so_is_one_that_does_not() {
        check(|names, broken| reign(names, broken, (0, 30), &[0], &holder(Some(0))), "");
        check(|names, broken| reign(names, broken, (0, 30), &[0], &holder(None)), "it has been that of");
        check(|names, broken| reign(names, broken, (0, 30), &[0], &holder(Some(1))), "which has not had it");
    }

    #[test]
    fn a_lookup_of_one_that_is_long_dead_is_found() {
        let dead = |names: &mut Names, broken: &mut Broken, seen: u64| {
            reign(names, broken, (0, 20), &[0], &holder(Some(0)));
            names.gone(0);
            reign(names, broken, (20, 20 + seen), &[], &holder(Some(0)));
        };
        check(|names, broken| dead(names, broken, 9), "");
        check(|names, broken| dead(names, broken, 12), "which has not had it");
    }

    #[test]
    fn a_name_that_goes_without_a_word_is_found() {
        let lose = |names: &mut Names, broken: &mut Broken, told: bool| {
            names.has(at(1), 0, &has(&["desk"]));
            names.has(at(2), 0, &has(&[]));
            if told {
                names.stirred(at(2), clerk(0));
            }
            names.check(at(5), None, broken);
        };
        check(|names, broken| lose(names, broken, false), "was never told");
        check(|names, broken| lose(names, broken, true), "");
        let stir_before = |names: &mut Names, broken: &mut Broken| {
            names.stirred(at(0), clerk(0));
            lose(names, broken, false);
        };
        check(stir_before, "was never told");
    }

    #[test]
    fn a_conflict_with_one_that_never_had_the_name_is_found() {
        let conflict = |names: &mut Names, broken: &mut Broken, theirs: &str| {
            names.took(&clerk(0), "desk");
            names.took(&clerk(1), theirs);
            names.conflict(at(3), &clerk(0), "n1:/lab/c0", broken);
        };
        check(|names, broken| conflict(names, broken, "desk"), "");
        check(|names, broken| conflict(names, broken, "bell"), "never had one of its names");
        check(|names, broken| names.conflict(at(3), &clerk(0), "somebody", broken), "which is nobody");
    }

    #[test]
    fn one_epoch_of_two_actors_is_found() {
        let see = |names: &mut Names, broken: &mut Broken, second| {
            names.sees(at(1), None, 4, &claim(1, 8, "/lab/c0"), broken);
            names.sees(at(1), None, 5, &claim(1, second, "/lab/c1"), broken);
        };
        check(|names, broken| see(names, broken, 8), "in one epoch");
        check(|names, broken| see(names, broken, 9), "");
    }

    #[test]
    fn a_view_that_goes_back_from_a_claim_that_stands_is_found() {
        let back = |names: &mut Names, broken: &mut Broken, viewer, stands: bool| {
            names.has(at(1), 0, &has(&["desk"]));
            names.sees(at(2), None, viewer, &claim(0, 8, "/lab/c0"), broken);
            names.has(at(3), 0, &has(if stands { &["desk"] } else { &[] }));
            names.sees(at(3), None, viewer, &claim(1, 7, "/lab/c0"), broken);
        };
        check(|names, broken| back(names, broken, 3, true), "went back from");
        check(|names, broken| back(names, broken, 3, false), "");
        // Other regions hear of it by way of speakers, who change.
        check(|names, broken| back(names, broken, 4, true), "");
    }

    #[test]
    fn a_claim_that_is_earlier_than_what_its_node_knew_is_found() {
        let claims = |names: &mut Names, broken: &mut Broken, second| {
            names.sees(at(1), None, 3, &claim(1, 8, "/lab/c0"), broken);
            names.sees(at(2), None, 3, &claim(3, second, "/lab/c0"), broken);
        };
        check(|names, broken| claims(names, broken, 7), "and had seen");
        check(|names, broken| claims(names, broken, 9), "");
    }

    #[test]
    fn a_member_that_is_not_seen_or_no_longer_there_is_found() {
        let look = |names: &mut Names, broken: &mut Broken, viewer, scope, sees: &Sees| {
            for second in 0..20 {
                names.has(at(second), 0, &joined(scope));
                names.sees(at(second), Some(at(0)), viewer, sees, broken);
            }
        };
        let seen = [(3, Scope::Region), (4, Scope::Global), (0, Scope::Local)];
        for (viewer, scope) in seen {
            check(|names, broken| look(names, broken, viewer, scope, &crew(&[0], 0)), "");
            check(|names, broken| look(names, broken, viewer, scope, &crew(&[], 0)), "does not see");
        }
        for (viewer, scope) in [(4, Scope::Region), (3, Scope::Local)] {
            check(|names, broken| look(names, broken, viewer, scope, &crew(&[], 0)), "");
            check(|names, broken| look(names, broken, viewer, scope, &crew(&[0], 0)), "has not been in it");
        }
        check(|names, broken| look(names, broken, 4, Scope::Global, &crew(&[0], 1)), "knows of 1 more");
    }
}
