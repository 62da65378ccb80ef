//! The goals of membership, each measured and set beside its number.

use std::time::Duration;

use covenant_membership::{Paces, Profile};
use covenant_types::Region;

use super::line::Burst;
use super::measure::{
    Detection, Rest, Stall, Stalls, detection, heal, join, percentile, plain_detection, plain_stalls, rest, stalls,
};
use super::world::{Setup, World};
use crate::land::{Land, hub, leaf, member};

/// How much to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Seeds of what is short.
    pub seeds: u64,
    /// Nodes of what is large.
    pub nodes: usize,
    /// Virtual seconds of what has to last, per seed.
    pub rest_secs: u64,
    /// Seeds of what has to last.
    pub rest_seeds: u64,
}

impl Effort {
    /// What a pull request can afford.
    pub const QUICK: Self = Self { seeds: 3, nodes: 1000, rest_secs: 300, rest_seeds: 1 };
    /// What the table in the documentation is made of: enough hours without a false death to know that there is fewer than one
    /// in a thousand.
    pub const FULL: Self = Self { seeds: 20, nodes: 1000, rest_secs: 3600, rest_seeds: 4 };
    /// Five times those hours: most of one on a core.
    pub const NIGHT: Self = Self { rest_seeds: 20, ..Self::FULL };
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its short name in the design.
    pub goal: &'static str,
    /// What was measured, how.
    pub what: String,
    /// The number.
    pub measured: String,
    /// What it was to be.
    pub target: String,
    /// Whether it was; `None` where there is no bar.
    pub met: Option<bool>,
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn show(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

fn detections(setup: &Setup, loss: f64, seeds: u64) -> Vec<Option<Detection>> {
    (0..seeds)
        .map(|seed| {
            let mut world = World::formed(setup.clone(), seed);
            world.lines.loss = loss;
            world.run(Duration::from_millis(seed * 137));
            let victim = usize::try_from(seed).unwrap_or(0) % world.len();
            detection(&mut world, victim, secs(600))
        })
        .collect()
}

fn detection_row(
    goal: &'static str,
    what: &str,
    found: &[Option<Detection>],
    bars: Option<(Duration, Duration)>,
    target: &str,
) -> Row {
    let missed = found.iter().filter(|found| found.is_none()).count();
    let all = |pick: fn(&Detection) -> Duration| found.iter().flatten().map(pick).collect::<Vec<_>>();
    let (p50, p99) = (percentile(all(|d| d.first), 0.5), percentile(all(|d| d.first), 0.99));
    let (most, last) = (percentile(all(|d| d.most), 0.99), percentile(all(|d| d.all), 0.99));
    Row {
        goal,
        what: format!("{what}, {} seeds", found.len()),
        measured: format!(
            "first p50 {}, p99 {}; 99 % by {}, all by {}; {missed} not within 600 s",
            show(p50),
            show(p99),
            show(most),
            show(last)
        ),
        target: target.to_owned(),
        met: bars.map(|(bar50, bar99)| missed == 0 && p50 <= bar50 && p99 <= bar99),
    }
}

fn spread_row(goal: &'static str, what: &str, found: &[Option<Detection>], bars: (Duration, Duration)) -> Row {
    let missed = found.iter().filter(|found| found.is_none()).count();
    let spread: Vec<_> = found.iter().flatten().map(Detection::spread).collect();
    let most: Vec<_> = found.iter().flatten().map(|d| d.most.saturating_sub(d.first)).collect();
    let (p50, p99) = (percentile(spread.clone(), 0.5), percentile(spread, 0.99));
    Row {
        goal,
        what: format!("{what}, {} seeds", found.len()),
        measured: format!("all p50 {}, p99 {}; 99 % by {}", show(p50), show(p99), show(percentile(most, 0.99))),
        target: format!("all p50 {}, p99 {}", show(bars.0), show(bars.1)),
        met: Some(missed == 0 && p50 <= bars.0 && p99 <= bars.1),
    }
}

fn unreachable_row(what: &str, found: &[Option<Detection>], bar: Duration) -> Row {
    let spans: Vec<_> = found.iter().flatten().map(|d| d.suspected).collect();
    let mean = spans.iter().sum::<Duration>() / u32::try_from(spans.len().max(1)).unwrap_or(1);
    let p99 = percentile(spans, 0.99);
    Row {
        goal: "G5",
        what: format!("{what}, first suspicion, {} seeds", found.len()),
        measured: format!("mean {}, p99 {}", show(mean), show(p99)),
        target: format!("mean {}", show(bar)),
        met: Some(mean <= bar),
    }
}

/// Crash of one node of a pool in a data centre, and of a large cluster in one.
pub fn lan(effort: &Effort) -> Vec<Row> {
    // Cheap, and the tail of a waiting time: more seeds.
    let pool = detections(&Setup::lan(200), 0.001, effort.seeds * 10);
    let large = detections(&Setup::lan(effort.nodes), 0.001, effort.seeds);
    vec![
        spread_row(
            "G1",
            &format!("LAN N={}, 0.1 % loss, word of a death", effort.nodes),
            &large,
            (Duration::from_millis(1500), Duration::from_millis(2400)),
        ),
        detection_row("G3", "LAN pool N=200", &pool, Some((secs(12), secs(14))), "first p50 12 s, p99 14 s"),
        detection_row("G4", &format!("LAN N={} in one pool", effort.nodes), &large, None, "reported, no bar"),
        unreachable_row("LAN pool N=200", &pool, Duration::from_millis(2500)),
    ]
}

/// Crash of one node of a large cluster on bad lines.
pub fn mixed(effort: &Effort) -> Vec<Row> {
    let found = detections(&Setup::mixed(effort.nodes), 0.05, effort.seeds);
    vec![
        spread_row("G2", &format!("mixed N={}, 5 % loss, word of a death", effort.nodes), &found, (secs(4), secs(6))),
        detection_row("G6", &format!("mixed N={}, 5 % loss", effort.nodes), &found, None, "reported, no bar"),
        unreachable_row(&format!("mixed N={}, 5 % loss", effort.nodes), &found, secs(10)),
    ]
}

/// Nobody dies, and nobody should think so.
pub fn quiet(effort: &Effort) -> Vec<Row> {
    let mut sum = Rest::default();
    for seed in 0..effort.rest_seeds {
        let mut world = World::formed(Setup::mixed(effort.nodes), 100 + seed);
        world.lines.loss = 0.05;
        sum.add(&rest(&mut world, secs(effort.rest_secs)));
    }
    let mut bursts = Rest::default();
    for seed in 0..effort.rest_seeds.div_ceil(4) {
        let mut world = World::formed(Setup::mixed(200), 200 + seed);
        world.lines.burst = Some(Burst { good: secs(114), bad: secs(6), loss: 1.0 });
        bursts.add(&rest(&mut world, secs(effort.rest_secs)));
    }
    let hours = sum.node_hours;
    let rate = if sum.downs == 0 { 3.0 / hours } else { sum.downs as f64 / hours } * 1000.0;
    let relation = if sum.downs == 0 { "<" } else { "=" };
    vec![
        Row {
            goal: "G7",
            what: format!("mixed N={}, 5 % loss, {hours:.0} node-hours", effort.nodes),
            measured: format!("{} nodes falsely down ({relation} {rate:.2} per 1000 node-hours)", sum.downs),
            target: "0; < 1 per 1000 node-hours".to_owned(),
            // Too few hours without a death prove nothing either way.
            met: if sum.downs == 0 && rate >= 1.0 { None } else { Some(sum.downs == 0) },
        },
        Row {
            goal: "G7",
            what: format!("mixed N=200, bursts: all lost for 6 s every 120 s, {:.0} node-hours", bursts.node_hours),
            measured: format!("{} nodes falsely down, {} suspicions", bursts.downs, bursts.suspicions),
            target: "reported".to_owned(),
            met: None,
        },
        Row {
            goal: "G8",
            what: "the same, suspicions".to_owned(),
            measured: format!("{:.3} per node-hour", sum.suspicions as f64 / hours),
            target: "0.05 per node-hour".to_owned(),
            met: Some(sum.suspicions as f64 / hours <= 0.05),
        },
        Row {
            goal: "G13",
            what: "the same, new lives without a restart".to_owned(),
            measured: sum.renewals.to_string(),
            target: "0".to_owned(),
            met: Some(sum.renewals == 0),
        },
    ]
}

/// What is said when nothing happens.
pub fn traffic(effort: &Effort) -> Vec<Row> {
    let hubs = Setup { tiers: vec![covenant_types::LinkTier::Wan; 150], profile: Profile::hubs(), ..Setup::mixed(150) };
    let row = |what: &str, setup: &Setup, bar: f64| {
        let mut world = World::formed(setup.clone(), 7);
        world.run(secs(120));
        let rest = rest(&mut world, secs(effort.rest_secs.max(300)));
        Row {
            goal: "G10",
            what: what.to_owned(),
            measured: format!(
                "{:.0} B/s payload in {:.1} packets/s (with IP, UDP and QUIC {:.0} B/s)",
                rest.bytes,
                rest.packets,
                rest.bytes + rest.packets * super::line::PACKET_OVERHEAD as f64
            ),
            target: format!("{bar:.0} B/s"),
            met: Some(rest.bytes <= bar),
        }
    };
    vec![
        row("a member of a hub pool of 150, at rest", &hubs, 250.0),
        row("a member of a LAN pool of 200, at rest", &Setup::lan(200), 450.0),
    ]
}

/// What a cluster laid out in pools says when nothing happens.
pub fn pools(effort: &Effort) -> Vec<Row> {
    // Five hubs to each of six regions, and 40 more nodes in one of them.
    let mut places: Vec<_> = Region::ALL.iter().flat_map(|region| [hub(*region); 5]).collect();
    places.extend((0..40).map(|_| member(Region::Africa)));
    let (a_hub, a_member, a_leaf) = (0, places.len() - 1, places.len());
    places.push(leaf(Region::Africa));
    let size = places.len();
    let mut land = Land::new(places, Paces::network(), 7);
    land.run(secs(300));
    let span = effort.rest_secs.max(1200);
    let before = [a_hub, a_member, a_leaf].map(|node| land.traffic(node));
    land.run(secs(span));
    let of = |node: usize, before| {
        let (bytes, messages) = land.traffic_since(node, before);
        (bytes as f64 / span as f64, messages as f64 / span as f64)
    };
    let near = |what: &str, node, before| {
        let (bytes, messages) = of(node, before);
        Row {
            goal: "G10",
            what: format!("{what} of {size} nodes in pools, at rest, both ways"),
            measured: format!("{bytes:.0} B/s payload in {messages:.1} packets/s"),
            target: "reported".to_owned(),
            met: None,
        }
    };
    let (bytes, messages) = of(a_leaf, before[2]);
    let day = (bytes + messages * super::line::PACKET_OVERHEAD as f64) * 86_400.0;
    vec![
        near("a hub", a_hub, before[0]),
        near("a member of a region of 45", a_member, before[1]),
        Row {
            goal: "G10",
            what: "a leaf of two hubs, at rest, both ways".to_owned(),
            measured: format!("{:.1} kB a day payload, with IP, UDP and QUIC {:.1} kB", bytes * 86.4, day / 1000.0),
            target: "60 kB a day".to_owned(),
            met: Some(day <= 60_000.0),
        },
    ]
}

/// Two halves that cannot hear each other, and then can.
pub fn heals(effort: &Effort) -> Vec<Row> {
    let mut found = Vec::new();
    let mut missed = 0;
    let seeds = effort.seeds.max(5);
    for seed in 0..seeds {
        let mut world = World::formed(Setup::lan(200), 300 + seed);
        let cut = Duration::from_millis(20_000 + seed * 17_317 % 130_000);
        match heal(&mut world, cut, secs(600)) {
            Some(spans) => found.push(spans),
            None => missed += 1,
        }
    }
    let most = found.iter().map(|(most, _)| *most).max().unwrap_or_default();
    let all = found.iter().map(|(_, all)| *all).max().unwrap_or_default();
    vec![Row {
        goal: "G11",
        what: format!("LAN N=200 cut in halves for 20 to 150 s, {seeds} seeds"),
        measured: format!("99 % of views within {}, all within {}; {missed} not within 600 s", show(most), show(all)),
        target: "99 % within 60 s, all within 120 s".to_owned(),
        met: Some(missed == 0 && most <= secs(60) && all <= secs(120)),
    }]
}

/// A newcomer.
pub fn joins(effort: &Effort) -> Vec<Row> {
    let setup = Setup::lan(effort.nodes);
    let took = join(&setup, 11, 32_000, secs(60));
    vec![Row {
        goal: "G12",
        what: format!("a node joins {} others, every line 256 kbit/s", effort.nodes - 1),
        measured: took
            .map_or("not within 60 s".to_owned(), |took| format!("sees all after {:.2} s", took.as_secs_f64())),
        target: "5 s".to_owned(),
        met: Some(took.is_some_and(|took| took <= secs(5))),
    }]
}

/// Nodes that are held up now and then, beside foca as it comes.
pub fn lifeguard(effort: &Effort) -> Vec<Row> {
    let mut rows = vec![
        stall_row(effort, Stall::Whole, "stand still for 16 s again and again"),
        stall_row(effort, Stall::Mail, "neither send nor hear for 16 s again and again, though their clocks run"),
    ];
    let seeds = effort.seeds * 10;
    let found = detections(&Setup::lan(usize::from(STALL_NODES)), 0.0, seeds);
    let first = percentile(found.iter().flatten().map(|found| found.first).collect(), 0.5);
    let beside = (0..seeds).filter_map(|seed| plain_detection(STALL_NODES, &Profile::lan(), 500 + seed, secs(600)));
    let beside = percentile(beside.collect(), 0.5);
    rows.push(Row {
        goal: "G9",
        what: format!("{STALL_NODES} nodes, nobody is held up, a crash, {seeds} seeds"),
        measured: format!("first p50 {}; foca as it comes {}", show(first), show(beside)),
        target: "at most 1.2 of foca's as it comes".to_owned(),
        met: Some(first <= beside.mul_f64(1.2)),
    });
    rows
}

const STALL_NODES: u16 = 128;

fn stall_row(effort: &Effort, kind: Stall, what: &str) -> Row {
    let scenario = Stalls { kind, nodes: 16, stall: secs(16), between: secs(8) };
    let (mut ours, mut plain) = (Rest::default(), Rest::default());
    for seed in 0..effort.seeds.min(5) {
        let mut world = World::formed(Setup::lan(usize::from(STALL_NODES)), 400 + seed);
        ours.add(&stalls(&mut world, seed, scenario, secs(300)));
        plain.add(&plain_stalls(STALL_NODES, &Profile::lan(), 400 + seed, seed, scenario, secs(300)));
    }
    Row {
        goal: "G9",
        what: format!("{STALL_NODES} nodes, 16 of them {what}, {:.0} node-hours", ours.node_hours),
        measured: format!(
            "of the 112 others {} falsely down ({} views of it), {} suspected; foca as it comes: {} ({} views)",
            ours.downs, ours.false_downs, ours.suspicions, plain.downs, plain.false_downs
        ),
        target: "views at most a tenth of foca's as it comes".to_owned(),
        // Where foca itself sees no false death nothing was compared.
        met: (plain.false_downs > 0).then_some(ours.false_downs * 10 <= plain.false_downs),
    }
}
