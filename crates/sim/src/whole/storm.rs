//! One seed, one storm over whole nodes, and then quiet.

use std::time::Duration;

use anyhow::{Result, ensure};
use covenant_env::Random;
use covenant_types::{ActorPath, Role, WallTime};
use rand::Rng;
use rand::rngs::StdRng;

use super::clerk::CLERKS;
use super::clock::wall;
use super::identity::role;
use super::network::Counts;
use super::rules::Rules;
use super::worker::{LAB, WORKERS};
use super::world::World;
use super::{Outcome, Setup};

/// Within which nodes find each other at first, and again after the storm. See membership's goals.
const FORM_MAX: Duration = Duration::from_secs(60);
const HEAL_MAX: Duration = Duration::from_secs(150);
/// For how long they must see each other before they are said to have mended: a little more than idle connections last.
const SETTLED: Duration = Duration::from_secs(12);
const SETTLED_PATIENT: Duration = Duration::from_secs(65);
/// How long a blow lasts before the next one, in milliseconds: long enough to be felt.
const BLOW_MS: std::ops::Range<u64> = 2_000..7_000;
/// How long a node that sleeps means to sleep, in seconds.
const SLEEP_S: std::ops::Range<u64> = 10..60;
/// How long a nap lasts, and how long after it all connections stand again.
const NAP: Duration = Duration::from_secs(6);
const WOKEN: Duration = Duration::from_secs(3);
/// How long a machine is suspended, in milliseconds: shorter than anybody would miss, and longer.
const SUSPEND_MS: std::ops::Range<u64> = 200..9_000;

/// What befalls the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Crash,
    Stop,
    Restart,
    Halves,
    Mute,
    Deaf,
    Loss,
    Bursts,
    Lag,
    Clear,
    Sleep,
    Wake,
    KillWorker,
    KillLab,
    /// Two nodes do not hear each other, and all others hear both.
    Overlap,
    /// A node does not reach the source of leases.
    CutOff,
    Suspend,
}

const BLOWS: [Blow; 17] = [
    Blow::Crash,
    Blow::Stop,
    Blow::Restart,
    Blow::Halves,
    Blow::Mute,
    Blow::Deaf,
    Blow::Loss,
    Blow::Bursts,
    Blow::Lag,
    Blow::Clear,
    Blow::Sleep,
    Blow::Wake,
    Blow::KillWorker,
    Blow::KillLab,
    Blow::Overlap,
    Blow::CutOff,
    Blow::Suspend,
];

struct Storm {
    world: World,
    rng: StdRng,
    /// Those that are to be started again.
    away: Vec<usize>,
    asleep: Vec<usize>,
    felt: Vec<Blow>,
}

/// Runs one storm.
pub(super) fn run(setup: &Setup, seed: u64) -> Result<Outcome> {
    ensure!((3..=250).contains(&setup.nodes), "a simulation has 3 to 250 nodes");
    let rng = Random::new(seed).derive("storm");
    let world = World::new(setup, seed)?;
    let mut storm = Storm { world, rng, away: Vec::new(), asleep: Vec::new(), felt: Vec::new() };
    storm.form()?;
    let end = storm.world.now() + setup.storm;
    while storm.world.now() < end && !storm.world.is_broken() {
        let blow = BLOWS[storm.rng.random_range(0..BLOWS.len())];
        if storm.strike(blow)? {
            storm.felt.push(blow);
            let span = storm.rng.random_range(BLOW_MS);
            storm.world.run(Duration::from_millis(span));
        }
    }
    let counts = storm.world.counts();
    let healed = storm.calm(setup)?;
    storm.check_effects(counts);
    let (answered, unanswered, fired) = storm.world.rules(|rules| (rules.answered, rules.unanswered, rules.fired));
    let (conflicts, acts, letters) = storm.world.rules(|rules| (rules.conflicts(), rules.acts(), rules.letters()));
    let broken = storm.world.rules(|rules| rules.broken().to_vec());
    let virtual_time = storm.world.now();
    let (marks, story) = storm.world.into_marks();
    Ok(Outcome {
        marks,
        story,
        healed,
        broken,
        counts,
        answered,
        unanswered,
        fired,
        conflicts,
        acts,
        letters,
        virtual_time,
    })
}

impl Storm {
    fn form(&mut self) -> Result<()> {
        for node in 0..self.world.len() {
            self.world.start(node)?;
            let span = self.rng.random_range(0..300);
            self.world.run(Duration::from_millis(span));
        }
        if self.world.until(FORM_MAX, |world| world.missing().is_empty()).is_none() {
            self.broke("the nodes do not find each other");
        }
        self.world.tell("all see all");
        Ok(())
    }

    fn broke(&self, what: &str) {
        let missing = self.world.missing();
        let text = format!("{what}: {}", missing[..missing.len().min(8)].join(", "));
        self.world.rules(|rules| rules.broke(self.world.now(), &text));
    }

    /// Ends all that befalls the nodes, and waits for them to mend.
    fn calm(&mut self, setup: &Setup) -> Result<Option<Duration>> {
        self.world.weather(|weather| *weather = super::Weather::default());
        self.world.reconnect();
        for node in std::mem::take(&mut self.asleep) {
            self.wake(node);
        }
        // One that is still on its way out goes first.
        let leaving = |world: &World, away: &[usize]| away.iter().all(|node| !world.runs(*node));
        let away = std::mem::take(&mut self.away);
        self.world.until(HEAL_MAX, |world| leaving(world, &away));
        for node in 0..self.world.len() {
            if !self.world.runs(node) {
                self.world.start(node)?;
            }
        }
        self.world.tell("calm");
        let healed = self.mend(setup);
        if healed.is_none() {
            self.broke(&format!("{HEAL_MAX:?} after the storm not all see all for good"));
        }
        self.nap();
        self.world.rules(|rules| rules.quiet_begins(self.world.now()));
        self.world.tell("quiet");
        self.world.run(setup.quiet);
        Ok(healed)
    }

    /// One member sleeps for a while, and nothing else happens: what the others post to it then has to arrive.
    fn nap(&mut self) {
        let towers = (0..self.world.len()).filter(|node| role(*node, self.world.len()) == Role::Tower);
        let Some(sleeper) = towers.min().filter(|_| !self.world.is_broken()) else { return };
        self.world.tell(&format!("n{sleeper} takes a nap"));
        self.world.rules(Rules::promise_mail);
        let until = WallTime(wall(self.world.now() + NAP * 10).0);
        if !self.sleep(sleeper, until) {
            return self.broke("one that is to take a nap is not up");
        }
        self.world.run(NAP);
        self.wake(sleeper);
        if self.world.until(HEAL_MAX, |world| world.missing().is_empty()).is_none() {
            self.broke("not all see one that woke from its nap");
        }
        self.world.rules(|rules| rules.all_awake(self.world.now()));
        self.world.run(WOKEN);
        if self.world.until(HEAL_MAX, |world| world.missing().is_empty()).is_none() {
            self.broke("not all see one that woke from its nap");
        }
    }

    /// Waits until all see all, and go on to do so for as long as a connection that nothing comes over is kept: the last of
    /// those that the storm has broken is noticed by then.
    fn mend(&mut self, setup: &Setup) -> Option<Duration> {
        let calm = self.world.now();
        let settled = if setup.patient { SETTLED_PATIENT } else { SETTLED };
        let mut whole_since = None;
        loop {
            self.world.run(super::CHECK_EVERY);
            let now = self.world.now();
            if self.world.is_broken() {
                return None;
            } else if !self.world.missing().is_empty() {
                whole_since = None;
                if now - calm > HEAL_MAX {
                    return None;
                }
            } else if now - *whole_since.get_or_insert(now) >= settled {
                return whole_since.map(|since| since - calm);
            }
        }
    }

    /// A fault that had no effect proves nothing.
    fn check_effects(&self, counts: Counts) {
        let (asleep, exits) = self.world.rules(|rules| (rules.seen_asleep, rules.seen_exits));
        let suspended = self.world.rules(|rules| rules.seen_suspended);
        for blow in &self.felt {
            let felt = match blow {
                Blow::Crash => counts.unheard,
                Blow::Halves => counts.parted,
                Blow::Mute | Blow::Deaf | Blow::Overlap => counts.cut,
                Blow::Loss => counts.lost,
                Blow::Bursts => counts.bad,
                Blow::Lag => counts.late,
                Blow::Sleep => asleep,
                Blow::KillWorker | Blow::KillLab => exits,
                Blow::Suspend => suspended,
                // A node may have nothing to ask the source of leases before the weather clears up.
                Blow::Stop | Blow::Restart | Blow::Clear | Blow::Wake | Blow::CutOff => 1,
            };
            if felt == 0 {
                let text = format!("the storm had {blow:?} and nothing was felt of it");
                self.world.rules(|rules| rules.broke(self.world.now(), &text));
            }
        }
    }

    /// Does one thing to the nodes. False where it cannot be done now.
    fn strike(&mut self, blow: Blow) -> Result<bool> {
        let node = self.rng.random_range(0..self.world.len());
        let share = self.rng.random::<f64>();
        let is_away = self.away.contains(&node) || self.asleep.contains(&node);
        // Somebody has to be left to tell the others.
        let few = (self.away.len() + self.asleep.len()) * 3 >= self.world.len();
        let text = match blow {
            Blow::Crash if !is_away && !few => {
                self.away.push(node);
                self.world.crash(node);
                format!("n{node} crashes")
            }
            Blow::Stop if !is_away && !few && self.world.stop(node) => {
                self.away.push(node);
                format!("n{node} stops in order")
            }
            Blow::Restart => {
                let Some(place) = self.away.iter().position(|away| !self.world.runs(*away)) else { return Ok(false) };
                let node = self.away.remove(place);
                self.world.start(node)?;
                format!("n{node} starts again")
            }
            Blow::Halves => {
                let nodes = self.world.len();
                let few = (nodes * 2 / 5).max(1);
                let first = self.rng.random_range(0..nodes);
                let cut_off: Vec<usize> = (0..few).map(|place| (first + place) % nodes).collect();
                let is_up = |node: &usize| !self.away.contains(node) && !self.asleep.contains(node);
                // Between those that are away nothing passes anyhow.
                if !cut_off.iter().any(is_up)
                    || !(0..nodes).filter(|node| !cut_off.contains(node)).any(|node| is_up(&node))
                {
                    return Ok(false);
                }
                self.world.weather(|weather| weather.group = cut_off.iter().map(|node| (*node, 1)).collect());
                format!("{few} nodes from n{first} on are cut off")
            }
            Blow::Mute | Blow::Deaf if !is_away => {
                let nodes = self.world.len();
                self.world.weather(|weather| {
                    for other in (0..nodes).filter(|other| *other != node) {
                        weather.cut.insert(if blow == Blow::Mute { (node, other) } else { (other, node) });
                    }
                });
                format!("n{node} is {}", if blow == Blow::Mute { "mute" } else { "deaf" })
            }
            Blow::Loss if self.two_talk() => {
                self.world.weather(|weather| weather.loss = 0.1 + share * 0.15);
                format!("{:.0} % of packets are lost", 10.0 + share * 15.0)
            }
            Blow::Bursts if self.two_talk() => {
                self.world.weather(|weather| weather.burst = 0.5 + share / 2.0);
                format!("bursts in which {:.0} % are lost", 50.0 + share * 50.0)
            }
            Blow::Lag if self.two_talk() => {
                let lag = Duration::from_millis(self.rng.random_range(50..600));
                self.world.weather(|weather| weather.lag = lag);
                format!("everything takes {lag:?} longer")
            }
            Blow::Overlap if !is_away => {
                let other = (node + self.rng.random_range(1..self.world.len())) % self.world.len();
                if self.away.contains(&other) || self.asleep.contains(&other) {
                    return Ok(false);
                }
                self.world.weather(|weather| weather.cut.extend([(node, other), (other, node)]));
                format!("n{node} and n{other} do not hear each other")
            }
            Blow::CutOff if !is_away => {
                self.world.cut_off(node);
                format!("n{node} does not reach the source of leases")
            }
            Blow::Suspend if !is_away && !few => {
                let span = Duration::from_millis(self.rng.random_range(SUSPEND_MS));
                if !self.world.suspend(node, span) {
                    return Ok(false);
                }
                format!("n{node} is suspended for {span:?}")
            }
            Blow::Clear => {
                self.world.weather(|weather| *weather = super::Weather::default());
                self.world.reconnect();
                "the weather clears up".to_owned()
            }
            Blow::Sleep if !is_away && !few && role(node, self.world.len()) == Role::Tower => {
                let span = self.rng.random_range(SLEEP_S);
                if !self.sleep(node, WallTime(wall(self.world.now()).0 + span)) {
                    return Ok(false);
                }
                self.asleep.push(node);
                format!("n{node} goes to sleep for {span} s")
            }
            Blow::Wake => {
                let Some(node) = self.asleep.pop() else { return Ok(false) };
                self.wake(node);
                format!("n{node} wakes")
            }
            Blow::KillWorker if !is_away => {
                let paths = [&WORKERS[..], &CLERKS].concat();
                let path = paths[self.rng.random_range(0..paths.len())];
                self.kill(node, path);
                format!("{path} of n{node} is killed")
            }
            Blow::KillLab if !is_away => {
                self.kill(node, LAB);
                format!("{LAB} of n{node} is killed")
            }
            // Not to this node, or not now.
            Blow::Crash
            | Blow::Stop
            | Blow::Sleep
            | Blow::Mute
            | Blow::Deaf
            | Blow::Loss
            | Blow::Bursts
            | Blow::Lag
            | Blow::KillWorker
            | Blow::KillLab
            | Blow::Overlap
            | Blow::CutOff
            | Blow::Suspend => return Ok(false),
        };
        self.world.tell(&text);
        Ok(true)
    }

    /// Whether two nodes hear each other. Where none do, nobody would feel what lines suffer.
    fn two_talk(&self) -> bool {
        let mut weather = super::Weather::default();
        self.world.weather(|now| weather = now.clone());
        let group = |node: &usize| weather.group.get(node).copied().unwrap_or(0);
        let up: Vec<usize> = (0..self.world.len())
            .filter(|node| self.world.runs(*node) && !self.away.contains(node) && !self.asleep.contains(node))
            .collect();
        let talk = |one: &usize, two: &usize| {
            one != two
                && group(one) == group(two)
                && !weather.cut.contains(&(*one, *two))
                && !weather.cut.contains(&(*two, *one))
        };
        up.iter().any(|one| up.iter().any(|two| talk(one, two)))
    }

    fn kill(&self, node: usize, path: &'static str) {
        let Some(system) = self.world.with(node, |node| node.system().clone()) else { return };
        self.world.spawn(node, async move {
            // It may be between two lives just now.
            let _gone = system.kill(&path.parse::<ActorPath>().expect("workers have good paths")).await;
        });
    }

    fn sleep(&self, node: usize, until: WallTime) -> bool {
        let Some(cluster) = self.world.with(node, |node| node.cluster().clone()) else { return false };
        let (chronicle, now) = (self.world.chronicle(), self.world.now());
        self.world.spawn(node, async move {
            let slept = cluster.sleep(until).await;
            chronicle.note(now, &format!("n{node} asleep: {}", slept.is_ok()));
        });
        true
    }

    fn wake(&self, node: usize) {
        let Some(cluster) = self.world.with(node, |node| node.cluster().clone()) else { return };
        self.world.spawn(node, async move {
            let _was_asleep = cluster.wake().await;
        });
    }
}
