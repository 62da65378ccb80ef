//! What goes wrong, for how long, and what it comes to.

use std::sync::Arc;
use std::time::Duration;

use covenant_consensus::Replicated;
use covenant_env::{Clock, Random, RealClock, Spawner};
use covenant_history::{History, Replica, check};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::book;
use super::clients::{Client, Shared};
use super::disk::Faults;
use super::group::{Group, VOTERS};
use crate::Trace;

/// How long the group may take to heal, in virtual time.
const HEAL_WITHIN: Duration = Duration::from_secs(60);
/// How long clients may go on asking for what is not known.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// Whether disks keep their word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// What they say that they synced they did.
    Honest,
    /// They all lie about their syncs, and power goes often: no log can keep its word on them. It has to be found.
    Lying,
}

/// A storm.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// How long things go wrong, in virtual time.
    pub span: Duration,
    /// How many ask.
    pub clients: u32,
    /// What they are kept on.
    pub disks: Disks,
}

impl Default for Storm {
    fn default() -> Self {
        Self { span: Duration::from_secs(30), clients: 8, disks: Disks::Honest }
    }
}

/// What a storm came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was done.
    pub story: Vec<String>,
    /// What was asked and answered.
    pub history: History,
    /// What is wrong; empty where the group kept its word.
    pub broken: Vec<String>,
    /// How long the group took to agree once all was well.
    pub healed: Option<Duration>,
    /// Of all that happened.
    pub trace: Trace,
}

/// Runs one storm from its seed, in a thread of its own: what is drawn there begins anew.
pub fn run(storm: Storm, seed: u64) -> Outcome {
    let failed = |why: String| Outcome {
        story: Vec::new(),
        history: History::default(),
        broken: vec![why],
        healed: None,
        trace: Trace::new(),
    };
    let ran = std::thread::Builder::new().spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build()?;
        runtime.block_on(weather(storm, seed))
    });
    match ran.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => failed(format!("the group did not form: {error:#}")),
        Ok(Err(_)) => failed("a panic".to_owned()),
        Err(error) => failed(format!("no thread: {error}")),
    }
}

async fn weather(storm: Storm, seed: u64) -> anyhow::Result<Outcome> {
    let random = Random::new(seed);
    let mut group = Group::form(seed, random.derive("lines")).await?;
    let shared = Arc::new(Shared {
        history: Mutex::default(),
        members: Mutex::default(),
        lines: group.lines.clone(),
        clock: RealClock::new(),
        stop: Mutex::new(None),
        problems: Mutex::default(),
    });
    open(&group).await?;
    show(&group, &shared);
    let spawner = Spawner::new(tokio::runtime::Handle::current());
    let clients: Vec<_> = (0..storm.clients)
        .map(|number| {
            let luck = random.derive(&format!("client {number}"));
            let node = VOTERS[number as usize % VOTERS.len()];
            spawner.spawn(Client { number, luck, shared: shared.clone(), node }.run())
        })
        .collect();
    let mut story = Vec::new();
    let clock = RealClock::new();
    let mut luck = random.derive("storm");
    while clock.now().0 < storm.span {
        let lasts = Duration::from_millis(luck.random_range(200..4_000));
        blow(storm, &mut group, &mut luck, &mut story);
        show(&group, &shared);
        tokio::time::sleep(lasts).await;
        heal(storm, &mut group).await;
        show(&group, &shared);
        tokio::time::sleep(Duration::from_millis(luck.random_range(0..2_500))).await;
    }
    heal(Storm { disks: Disks::Honest, ..storm }, &mut group).await;
    show(&group, &shared);
    *shared.stop.lock() = Some(shared.clock.now().after(SETTLE_WITHIN));
    for client in clients {
        client.await.map_err(|error| anyhow::anyhow!("a client: {error:?}"))?;
    }
    let healed = settled(&group).await;
    Ok(judge(story, &group, &shared, healed))
}

/// Opens the accounts.
async fn open(group: &Group) -> anyhow::Result<()> {
    let clock = RealClock::new();
    while clock.now().0 < HEAL_WITHIN {
        for node in VOTERS {
            if let Some(running) = group.running(node)
                && running.member.write(1, book::opening()).await.is_ok()
            {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("nobody led within {HEAL_WITHIN:?}")
}

/// Has clients find who runs.
fn show(group: &Group, shared: &Shared) {
    let running = VOTERS.iter().filter_map(|node| Some((*node, group.running(*node)?)));
    *shared.members.lock() = running.collect();
}

/// One blow, now and then two.
fn blow(storm: Storm, group: &mut Group, luck: &mut StdRng, story: &mut Vec<String>) {
    let blows = if luck.random_bool(0.2) { 2 } else { 1 };
    for _ in 0..blows {
        let place = luck.random_range(0..VOTERS.len());
        let other = VOTERS[(place + luck.random_range(1..VOTERS.len())) % VOTERS.len()];
        let node = VOTERS[place];
        let faults = Faults::default();
        let lies = storm.disks == Disks::Lying;
        if lies {
            VOTERS.iter().for_each(|node| group.disk(*node, Faults { lies: true, ..faults }));
        }
        let sort = if lies { luck.random_range(0..4) } else { luck.random_range(0..13) };
        let what = match sort {
            0..=2 => {
                group.kill(node, luck);
                "loses its power"
            }
            3 => {
                VOTERS.iter().for_each(|node| group.kill(*node, luck));
                "loses its power, with all others"
            }
            4 | 5 => {
                for other in VOTERS {
                    group.lines.cut(node, other);
                    group.lines.cut(other, node);
                }
                "is cut off"
            }
            6 => {
                group.lines.cut(other, node);
                "does not hear another"
            }
            7 => {
                group.lines.spoil(luck.random_range(5..40), Duration::ZERO);
                "sees, as all do, messages lost"
            }
            8 => {
                group.lines.spoil(0, Duration::from_millis(luck.random_range(20..400)));
                "sees, as all do, slow lines"
            }
            9 => {
                group.jump(node, luck.random_range(-1_000_000..1_000_000));
                "has another date"
            }
            10 => {
                group.disk(node, Faults { full: true, ..faults });
                "has a full disk"
            }
            11 => {
                group.disk(node, Faults { sync_fails: true, ..faults });
                "has a disk that does not sync"
            }
            _ => {
                group.disk(node, Faults { write_fails: true, ..faults });
                "has a disk that does not write"
            }
        };
        story.push(format!("{:>7.3} s: {node} {what}", group.time().as_secs_f64()));
    }
}

/// Has all be well again; dates stay as they are.
async fn heal(storm: Storm, group: &mut Group) {
    group.lines.heal();
    for node in VOTERS {
        group.disk(node, Faults { lies: storm.disks == Disks::Lying, ..Faults::default() });
        group.start(node).await;
    }
}

/// Waits until all agree, and says how long that took.
async fn settled(group: &Group) -> Option<Duration> {
    let clock = RealClock::new();
    while clock.now().0 < HEAL_WITHIN {
        if group.agrees() {
            return Some(clock.now().0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

fn judge(story: Vec<String>, group: &Group, shared: &Shared, healed: Option<Duration>) -> Outcome {
    let mut history = std::mem::take(&mut *shared.history.lock());
    let mut broken = group.problems.clone();
    broken.append(&mut shared.problems.lock());
    if healed.is_none() {
        broken.push(format!("the voters never agreed: {:?}", group.statuses()));
    }
    let mut trace = Trace::new();
    for node in VOTERS {
        let Some(running) = group.running(node) else { continue };
        let taken = running.member.read_stale(|book| {
            let hash = book.state_hash();
            let state: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            anyhow::Ok((book.position(), state, book.balances()?, book.problems()?, book.booked()?))
        });
        match taken {
            Ok((position, state, balances, problems, booked)) => {
                trace.mix(state.as_bytes());
                history.replicas.push(Replica { node: node.to_string().into(), position, state, balances, problems });
                history.book = booked;
            }
            Err(error) => broken.push(format!("the book of {node} cannot be read: {error}")),
        }
    }
    for line in &story {
        trace.mix(line.as_bytes());
    }
    let mut bytes = Vec::new();
    if history.write_to(&mut bytes).is_ok() {
        trace.mix(&bytes);
    }
    trace.mix_u64(healed.map_or(0, |healed| u64::try_from(healed.as_micros()).unwrap_or(0)));
    broken.extend(check(&history).faults.iter().map(ToString::to_string));
    Outcome { story, history, broken, healed, trace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storms_over_the_ledger_lose_double_and_hide_nothing_and_repeat_themselves() {
        let storm = Storm { span: Duration::from_secs(6), ..Storm::default() };
        for seed in 0..4 {
            let outcome = run(storm, seed);
            assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}\n{:#?}", outcome.broken, outcome.story);
            assert!(
                outcome.history.attempts.len() > 300 && outcome.history.reads.len() > 50 && !outcome.story.is_empty()
            );
            assert_eq!(run(storm, seed).trace, outcome.trace, "seed {seed}");
        }
    }

    #[test]
    fn a_disk_that_lied_about_its_syncs_is_found_when_it_is_opened_and_serves_nothing() {
        let storm = Storm { span: Duration::from_secs(8), disks: Disks::Lying, ..Storm::default() };
        let found = |seed| run(storm, seed).broken.iter().any(|line| line.contains("damaged"));
        assert!((0..3).all(found));
    }
}
