//! One seed, one storm: crashes, restarts, cuts, loss, stalls and sleep at random, and then quiet. What must hold through it,
//! and what must hold after it.

use std::time::Duration;

use covenant_membership::Health;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::line::Burst;
use super::measure::Stall;
use super::world::{Setup, World};
use crate::Trace;

/// How a storm is made.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The nodes and their pace.
    pub setup: Setup,
    /// How long things happen.
    pub span: Duration,
    /// How long after the end all must see all again.
    pub calm: Duration,
}

/// What a storm came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened, in one number.
    pub trace: Trace,
    /// What befell the nodes, in order.
    pub story: Vec<String>,
    /// How long after the end all saw all again.
    pub healed: Option<Duration>,
    /// The rules that were broken, none in a good run.
    pub broken: Vec<String>,
    /// Packets lost, late or blocked: a storm without any proves nothing.
    pub lost: u64,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Crash,
    Restart,
    Halves,
    OneWay,
    Heal,
    Loss,
    Bursts,
    Stall,
    Sleep,
    Wake,
}

const BLOWS: [Blow; 10] = [
    Blow::Crash,
    Blow::Restart,
    Blow::Halves,
    Blow::OneWay,
    Blow::Heal,
    Blow::Loss,
    Blow::Bursts,
    Blow::Stall,
    Blow::Sleep,
    Blow::Wake,
];

/// Who is away, and why.
#[derive(Debug, Default)]
struct Away {
    crashed: Vec<usize>,
    asleep: Vec<usize>,
}

/// Runs one storm.
pub fn run(storm: &Storm, seed: u64) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5704);
    let mut world = World::formed(storm.setup.clone(), seed);
    let (mut story, mut away) = (Vec::new(), Away::default());
    let end = world.now().after(storm.span);
    while world.now() < end {
        let blow = BLOWS[rng.random_range(0..BLOWS.len())];
        if let Some(told) = strike(&mut world, &mut rng, &mut away, blow) {
            story.push(format!("{} {told}", world.now()));
        }
        world.run(Duration::from_millis(rng.random_range(100..20_000)));
    }
    world.lines.group.fill(0);
    world.lines.cut.clear();
    (world.lines.loss, world.lines.burst) = (0.0, None);
    world.lines_changed();
    for node in std::mem::take(&mut away.crashed) {
        world.restart(node, first_up(&world));
    }
    away.asleep.iter().for_each(|node| world.wake_up(*node));
    story.push(format!("{} calm", world.now()));
    let (size, pairs) = (world.len(), world.len() * (world.len() - 1));
    let healed = world.until(Duration::from_millis(500), storm.calm, |world| world.complete().0 == pairs);
    let mut broken: Vec<String> = world.broken.iter().cloned().collect();
    if healed.is_none() {
        broken.push(format!("{:?} after the storm not all saw all: {}", storm.calm, describe(&world)));
    } else {
        // And it stays so.
        world.told.clear();
        world.run(Duration::from_secs(120));
        let down = world.told.iter().filter(|told| told.change.health == Health::Down).count();
        if down > 0 || world.complete().0 != pairs {
            broken.push(format!(
                "in the quiet after the storm {down} of {size} nodes' views turned to down: {}",
                describe(&world)
            ));
        }
    }
    let stats = world.stats();
    if stats.faults > 0 {
        broken.push(format!("{} faults of the SWIM machine", stats.faults));
    }
    if world.lost == 0 {
        broken.push("the storm had no effect: nothing was lost".to_owned());
    }
    Outcome { trace: world.trace(), story, healed, broken, lost: world.lost }
}

fn strike(world: &mut World, rng: &mut StdRng, away: &mut Away, blow: Blow) -> Option<String> {
    let node = rng.random_range(0..world.len());
    let share = rng.random::<f64>();
    let is_away = away.crashed.contains(&node) || away.asleep.contains(&node);
    // Somebody has to be left to tell the others.
    let few = away.crashed.len() + away.asleep.len() > world.len() / 3;
    match blow {
        Blow::Crash if !is_away && !few => {
            away.crashed.push(node);
            world.crash(node);
            Some(format!("crash {node}"))
        }
        Blow::Restart => {
            let node = away.crashed.pop()?;
            world.restart(node, first_up(world));
            Some(format!("restart {node}"))
        }
        Blow::Halves => {
            let groups: Vec<u8> = (0..world.len()).map(|_| u8::from(rng.random_bool(0.5))).collect();
            world.lines.group = groups;
            world.lines_changed();
            Some("cut in halves".to_owned())
        }
        Blow::OneWay => {
            for other in (0..world.len()).filter(|other| *other != node) {
                world.lines.cut.insert(if share < 0.5 { (node, other) } else { (other, node) });
            }
            world.lines_changed();
            Some(format!("node {node} is {}", if share < 0.5 { "mute" } else { "deaf" }))
        }
        Blow::Heal => {
            world.lines.group.fill(0);
            world.lines.cut.clear();
            (world.lines.loss, world.lines.burst) = (0.0, None);
            world.lines_changed();
            Some("heal".to_owned())
        }
        Blow::Loss => {
            world.lines.loss = share * 0.2;
            Some(format!("loss {:.0} %", share * 20.0))
        }
        Blow::Bursts => {
            world.lines.burst = Some(Burst { good: Duration::from_secs(60), bad: Duration::from_secs(6), loss: share });
            Some(format!("bursts of {:.0} %", share * 100.0))
        }
        Blow::Stall if !is_away => {
            let span = Duration::from_secs(1).mul_f64(share * 60.0);
            world.stall(node, Stall::Whole, span);
            Some(format!("node {node} stands still for {span:?}"))
        }
        Blow::Sleep if !is_away && !few => {
            away.asleep.push(node);
            world.leave(node);
            Some(format!("node {node} sleeps"))
        }
        Blow::Wake => {
            let node = away.asleep.pop()?;
            world.wake_up(node);
            Some(format!("node {node} wakes"))
        }
        Blow::Crash | Blow::Stall | Blow::Sleep => None,
    }
}

fn first_up(world: &World) -> usize {
    (0..world.len()).find(|node| world.is_up(*node)).unwrap_or(0)
}

fn describe(world: &World) -> String {
    let wrong = (0..world.len()).flat_map(|viewer| (0..world.len()).map(move |subject| (viewer, subject)));
    let wrong: Vec<String> = wrong
        .filter(|(viewer, subject)| viewer != subject && world.health(*viewer, *subject) != Some(Health::Alive))
        .take(12)
        .map(|(viewer, subject)| format!("{viewer} holds {subject} {:?}", world.health(viewer, subject)))
        .collect();
    wrong.join(", ")
}
