//! Who has which name and is in which group on this node. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use covenant_types::{ActorPath, Name, Scope, StartAttempt};

use super::{ENTRIES_MAX, ENTRIES_PER_ACTOR_MAX, Entries};

/// What the actors of one node have said of themselves.
#[derive(Debug, Default)]
pub(crate) struct Book {
    names: BTreeMap<Name, Holder>,
    groups: BTreeMap<Name, BTreeMap<ActorPath, Joined>>,
    by_path: HashMap<ActorPath, BTreeSet<Key>>,
    entries: usize,
}

#[derive(Clone, Debug)]
struct Holder {
    path: ActorPath,
    /// Who said so last.
    attempt: StartAttempt,
    /// Whether other nodes are told.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Joined {
    scope: Scope,
    attempt: StartAttempt,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(Name),
    Group(Name),
}

/// Why nothing was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Taken(ActorPath),
    ActorFull,
    NodeFull,
}

impl Book {
    /// Gives `name` to `path`. Returns whether other nodes are to hear of it.
    pub(super) fn register(
        &mut self,
        name: &Name,
        path: &ActorPath,
        attempt: StartAttempt,
        told: bool,
    ) -> Result<bool, Refusal> {
        match self.names.get_mut(name) {
            Some(holder) if holder.path != *path => return Err(Refusal::Taken(holder.path.clone())),
            Some(holder) => {
                let changed = holder.told != told;
                (holder.attempt, holder.told) = (attempt, told);
                return Ok(changed);
            }
            None => {}
        }
        self.enter(path, Key::Name(name.clone()))?;
        self.names.insert(name.clone(), Holder { path: path.clone(), attempt, told });
        Ok(told)
    }

    /// Puts `path` into `group`. Returns whether other nodes are to hear of it.
    pub(super) fn join(
        &mut self,
        group: &Name,
        scope: Scope,
        path: &ActorPath,
        attempt: StartAttempt,
    ) -> Result<bool, Refusal> {
        if let Some(joined) = self.groups.get_mut(group).and_then(|members| members.get_mut(path)) {
            let before = std::mem::replace(joined, Joined { scope, attempt });
            return Ok(before.scope != scope);
        }
        self.enter(path, Key::Group(group.clone()))?;
        self.groups.entry(group.clone()).or_default().insert(path.clone(), Joined { scope, attempt });
        Ok(scope != Scope::Local)
    }

    pub(super) fn unregister(&mut self, name: &Name, path: &ActorPath) -> bool {
        self.has_name(name, path) && self.remove(path, &Key::Name(name.clone()))
    }

    pub(super) fn leave(&mut self, group: &Name, path: &ActorPath) -> bool {
        self.remove(path, &Key::Group(group.clone()))
    }

    /// Takes the name from `path` and returns which attempt had it.
    pub(super) fn lose(&mut self, name: &Name, path: &ActorPath) -> Option<StartAttempt> {
        let attempt = self.names.get(name).filter(|holder| holder.path == *path)?.attempt;
        self.remove(path, &Key::Name(name.clone()));
        Some(attempt)
    }

    /// Forgets what earlier attempts at `path` said and `attempt` did not.
    pub(super) fn started(&mut self, path: &ActorPath, attempt: StartAttempt) -> bool {
        let Some(keys) = self.by_path.get(path) else { return false };
        let is_old = |key: &&Key| match key {
            Key::Name(name) => self.names.get(name).is_some_and(|holder| holder.attempt != attempt),
            Key::Group(group) => self.joined(group, path).is_some_and(|joined| joined.attempt != attempt),
        };
        let old: Vec<Key> = keys.iter().filter(is_old).cloned().collect();
        self.remove_all(path, &old)
    }

    /// Forgets all that is entered under `path`.
    pub(super) fn closed(&mut self, path: &ActorPath) -> bool {
        let keys: Vec<Key> = self.by_path.get(path).into_iter().flatten().cloned().collect();
        self.remove_all(path, &keys)
    }

    pub(super) fn has_name(&self, name: &Name, path: &ActorPath) -> bool {
        self.named(name) == Some(path)
    }

    pub(super) fn named(&self, name: &Name) -> Option<&ActorPath> {
        self.names.get(name).map(|holder| &holder.path)
    }

    pub(super) fn members(&self, group: &Name) -> Vec<(ActorPath, Scope)> {
        let members = self.groups.get(group).into_iter().flatten();
        members.map(|(path, joined)| (path.clone(), joined.scope)).collect()
    }

    pub(super) fn entries(&self) -> Entries {
        let names = self.names.iter().filter(|(_, holder)| holder.told);
        let members = self.groups.iter().flat_map(|(group, members)| {
            let told = members.iter().filter(|(_, joined)| joined.scope != Scope::Local);
            told.map(|(path, joined)| (group.clone(), joined.scope, path.clone()))
        });
        Entries {
            names: names.map(|(name, holder)| (name.clone(), holder.path.clone())).collect(),
            members: members.collect(),
        }
    }

    fn joined(&self, group: &Name, path: &ActorPath) -> Option<&Joined> {
        self.groups.get(group)?.get(path)
    }

    fn enter(&mut self, path: &ActorPath, key: Key) -> Result<(), Refusal> {
        if self.entries >= ENTRIES_MAX {
            return Err(Refusal::NodeFull);
        }
        let keys = self.by_path.entry(path.clone()).or_default();
        if keys.len() >= ENTRIES_PER_ACTOR_MAX {
            return Err(Refusal::ActorFull);
        }
        keys.insert(key);
        self.entries += 1;
        Ok(())
    }

    fn remove_all(&mut self, path: &ActorPath, keys: &[Key]) -> bool {
        let mut changed = false;
        for key in keys {
            changed |= self.remove(path, key);
        }
        changed
    }

    /// Returns whether other nodes are to hear of it.
    fn remove(&mut self, path: &ActorPath, key: &Key) -> bool {
        let Some(keys) = self.by_path.get_mut(path) else { return false };
        if !keys.remove(key) {
            return false;
        }
        if keys.is_empty() {
            self.by_path.remove(path);
        }
        self.entries -= 1;
        match key {
            Key::Name(name) => self.names.remove(name).is_some_and(|holder| holder.told),
            Key::Group(group) => {
                let Some(members) = self.groups.get_mut(group) else { return false };
                let left = members.remove(path);
                if members.is_empty() {
                    self.groups.remove(group);
                }
                left.is_some_and(|joined| joined.scope != Scope::Local)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn path(text: &str) -> ActorPath {
        text.parse().unwrap()
    }

    const FIRST: StartAttempt = StartAttempt(1);
    const SECOND: StartAttempt = StartAttempt(2);

    #[test]
    fn a_name_belongs_to_one_path_at_a_time() {
        let mut book = Book::default();
        assert_eq!(book.register(&name("n"), &path("/a"), FIRST, true), Ok(true));
        assert_eq!(book.register(&name("n"), &path("/b"), FIRST, true), Err(Refusal::Taken(path("/a"))));
        assert!(book.closed(&path("/a")));
        assert_eq!(book.register(&name("n"), &path("/b"), FIRST, true), Ok(true));
        assert_eq!(book.lose(&name("n"), &path("/a")), None);
        assert_eq!(book.lose(&name("n"), &path("/b")), Some(FIRST));
        assert_eq!(book.named(&name("n")), None);
    }

    #[test]
    fn what_the_next_incarnation_says_again_is_no_change_and_what_it_does_not_is_forgotten() {
        let mut book = Book::default();
        assert_eq!(book.join(&name("kept"), Scope::Region, &path("/a"), FIRST), Ok(true));
        assert_eq!(book.join(&name("left"), Scope::Region, &path("/a"), FIRST), Ok(true));
        assert_eq!(book.join(&name("kept"), Scope::Region, &path("/a"), SECOND), Ok(false));
        assert!(book.started(&path("/a"), SECOND));
        assert!(!book.started(&path("/a"), SECOND));
        assert_eq!(book.members(&name("kept")), [(path("/a"), Scope::Region)]);
        assert_eq!(book.members(&name("left")), []);
    }

    #[test]
    fn what_is_local_is_no_news_to_other_nodes() {
        let mut book = Book::default();
        assert_eq!(book.register(&name("n"), &path("/a"), FIRST, false), Ok(false));
        assert_eq!(book.join(&name("g"), Scope::Local, &path("/a"), FIRST), Ok(false));
        assert_eq!(book.entries(), Entries::default());
        assert!(!book.closed(&path("/a")));
        assert_eq!(book.entries, 0);
    }

    #[test]
    fn an_actor_and_a_node_have_bounds_and_what_leaves_makes_room() {
        let mut book = Book::default();
        let full = |book: &mut Book, actor: usize| {
            let path = path(&format!("/a{actor}"));
            (0..).find_map(|number| book.join(&name(&format!("g{number}")), Scope::Local, &path, FIRST).err()).unwrap()
        };
        for actor in 0..ENTRIES_MAX / ENTRIES_PER_ACTOR_MAX {
            assert_eq!(
                full(&mut book, actor),
                if book.entries < ENTRIES_MAX { Refusal::ActorFull } else { Refusal::NodeFull }
            );
        }
        assert_eq!(full(&mut book, 9999), Refusal::NodeFull);
        book.closed(&path("/a0"));
        assert_eq!(book.join(&name("g"), Scope::Local, &path("/late"), FIRST), Ok(false));
    }
}
