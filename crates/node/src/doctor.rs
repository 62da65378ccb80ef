//! What is wrong with a node and its machine. The facts are gathered in one place and judged in another, so that the
//! judgement is tried without a machine that is ill.

use std::path::Path;
use std::time::Duration;

use covenant_cluster::{MemberState, MemberView};
use covenant_env::Env;
use covenant_identity::ClockVerdict;
use covenant_types::{WallTime, format_duration};

use crate::api::doctor::{Checkup, Finding, Level};
use crate::node::Shared;

/// An issuing authority that ends within this time is to be issued again.
pub(crate) const ISSUING_SOON: Duration = Duration::from_hours(7 * 24);
/// With fewer file descriptors left than this, a node that gets many peers runs out of them.
const FILES_LEFT_LOW: u64 = 256;
/// The receive buffer that a burst on a fast link needs, in bytes. The figure is that of quic-go's and quinn's advice.
const RECEIVE_BUFFER_WANTED: u64 = 7_500_000;
/// Below this, QUIC sends its smallest packets: something on the way carries no more.
const MTU_LOW: u16 = 1_280;
/// A write that takes longer makes transfers slow.
const SYNC_SLOW: Duration = Duration::from_millis(50);
/// A write that takes longer makes calls to the ledger run out of time.
const SYNC_WRONG: Duration = Duration::from_secs(1);
/// How often the disk is tried; the middle one counts.
const SYNC_TRIES: usize = 5;
/// How much is written at each try, in bytes: about a ledger record's page.
const SYNC_BYTES: usize = 4096;
/// A connection that loses more than this many of a thousand packets is worth a look.
const LOSS_HIGH_PERMILLE: u64 = 50;

/// What was found out, before anyone says whether it is good.
struct Facts {
    now: WallTime,
    renew_at: WallTime,
    certificate_ends: WallTime,
    /// When its issuing authority ends, where it has one.
    issuing_ends: Option<WallTime>,
    /// Whether the key of the cluster's root lies on this machine.
    root_key_here: bool,
    clock: ClockVerdict,
    open_files: Option<u64>,
    open_files_most: Option<u64>,
    receive_buffer_most: Option<u64>,
    sync: Result<Duration, String>,
    members: Vec<MemberView>,
    version: &'static str,
    least_mtu: Option<u16>,
    not_ready: Option<String>,
}

/// Looks at the node and its machine. Takes as long as [`SYNC_TRIES`] small writes to the disk.
pub(crate) async fn examine(shared: &Shared) -> Checkup {
    let peers = shared.cluster.transport().map(|transport| transport.peers()).unwrap_or_default();
    let identity = shared.credentials.identity();
    let facts = Facts {
        now: shared.env.wall(),
        renew_at: shared.credentials.renew_at(),
        certificate_ends: identity.not_after,
        issuing_ends: shared.desk.any_authority().map(|authority| authority.not_after()),
        root_key_here: shared.files.root_key().exists(),
        clock: shared.clock.judge(),
        open_files: covenant_telemetry::open_files(),
        open_files_most: covenant_telemetry::open_files_most(),
        receive_buffer_most: covenant_telemetry::receive_buffer_most(),
        sync: try_the_disk(&shared.env, &shared.config.node.data).await,
        members: shared.cluster.members(),
        version: env!("CARGO_PKG_VERSION"),
        least_mtu: peers.iter().map(|peer| peer.stats().mtu).min(),
        not_ready: shared.not_ready(),
    };
    Checkup { node: shared.config.node.name.clone(), at: shared.env.wall(), findings: judge(&facts) }
}

/// How long the middle one of a few synced writes beside the node's data takes.
async fn try_the_disk(env: &Env, folder: &Path) -> Result<Duration, String> {
    let folder = folder.to_owned();
    let (clock, work) = (env.clone(), env.clone());
    work.blocking(move || {
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|error| error.to_string())?;
        let mut took = Vec::with_capacity(SYNC_TRIES);
        for _ in 0..SYNC_TRIES {
            let begun = clock.now();
            std::io::Write::write_all(&mut file, &[0; SYNC_BYTES])
                .and_then(|()| file.as_file().sync_data())
                .map_err(|error| error.to_string())?;
            took.push(clock.now().since(begun));
        }
        took.sort_unstable();
        Ok(took[SYNC_TRIES / 2])
    })
    .await
    .unwrap_or_else(|lost| Err(lost.to_string()))
}

/// Says of each fact whether it is good, and what to do where it is not.
fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        readiness(facts),
        certificate(facts),
        issuing(facts),
        root_key(facts),
        machine_clock(facts),
        members(facts),
        loss(facts),
        versions(facts),
        packets(facts),
        receive_buffer(facts),
        files(facts),
        disk(facts),
    ]
}

fn readiness(facts: &Facts) -> Finding {
    match &facts.not_ready {
        None => Finding::ok("readiness", "the node is ready".to_owned()),
        Some(why) => {
            let hint = "covenant status and covenant tree show show what it waits for";
            Finding::not_ok("readiness", Level::Warn, format!("not ready: {why}"), hint)
        }
    }
}

fn certificate(facts: &Facts) -> Finding {
    let left = facts.certificate_ends.0.saturating_sub(facts.now.0);
    let unit = if left >= 3600 { 3600 } else { 60 };
    let found = format!("its certificate ends in {}", format_duration(Duration::from_secs(left - left % unit)));
    if left == 0 {
        let hint = "no peer talks to it: see that an issuing hub is reachable, and that the clock is right";
        Finding::not_ok("certificate", Level::Wrong, "its certificate has ended".to_owned(), hint)
    } else if facts.now >= facts.renew_at {
        let hint = "it should have been renewed: see that an issuing hub is reachable";
        Finding::not_ok("certificate", Level::Warn, found, hint)
    } else {
        Finding::ok("certificate", found)
    }
}

fn issuing(facts: &Facts) -> Finding {
    let Some(ends) = facts.issuing_ends else {
        return Finding::ok("issuing authority", "this node has none".to_owned());
    };
    let left = Duration::from_secs(ends.0.saturating_sub(facts.now.0));
    let hint = "with the root's key: covenant ca issue NODE --root-key FILE; the node need not restart";
    if left.is_zero() {
        let found = "it has ended: this node renews and admits nobody".to_owned();
        return Finding::not_ok("issuing authority", Level::Wrong, found, hint);
    }
    let found = format!("it ends in {}", format_duration(Duration::from_secs(left.as_secs() / 3600 * 3600)));
    if left < ISSUING_SOON {
        Finding::not_ok("issuing authority", Level::Warn, found, hint)
    } else {
        Finding::ok("issuing authority", found)
    }
}

fn root_key(facts: &Facts) -> Finding {
    if facts.root_key_here {
        let hint = "take it offline and delete it here: whoever has it can be anybody in this cluster";
        let found = "the key of the cluster's root lies in this node's folder".to_owned();
        return Finding::not_ok("root key", Level::Warn, found, hint);
    }
    Finding::ok("root key", "it is not here".to_owned())
}

fn machine_clock(facts: &Facts) -> Finding {
    let hint = "set the machine's clock right, and see that something keeps it right";
    let wrong = |found: &str| Finding::not_ok("machine clock", Level::Warn, found.to_owned(), hint);
    match facts.clock {
        ClockVerdict::Plausible => Finding::ok("machine clock", "it may be right".to_owned()),
        ClockVerdict::Behind => wrong("it lies before a time that is past; the node goes by a later one"),
        ClockVerdict::Ahead => wrong("it lies beyond the end of the node's certificate, or of what hubs said"),
    }
}

fn members(facts: &Facts) -> Finding {
    let silent: Vec<String> = facts
        .members
        .iter()
        .filter(|member| matches!(member.state, MemberState::Unreachable | MemberState::Down))
        .map(|member| format!("{} at {} is {}", member.name, member.address, member.state))
        .collect();
    if silent.is_empty() {
        return Finding::ok("members", format!("nobody of {} is missing", facts.members.len()));
    }
    let hint = "where all of a site are silent, look at its link; where all but this node are, at this node's: UDP has to pass \
                in both directions between the listening addresses";
    Finding::not_ok("members", Level::Wrong, silent.join(", "), hint)
}

fn loss(facts: &Facts) -> Finding {
    let worst = facts.members.iter().filter_map(|member| Some((member.loss_permille?, &member.name))).max();
    match worst {
        Some((loss, name)) if loss > LOSS_HIGH_PERMILLE => {
            let found = format!("{}.{} % of the packets to {name} are lost", loss / 10, loss % 10);
            let hint = "the link is bad or full; see covenant members for the others, and what else uses it";
            Finding::not_ok("loss", Level::Warn, found, hint)
        }
        Some((loss, name)) => Finding::ok("loss", format!("at most {}.{} %, to {name}", loss / 10, loss % 10)),
        None => Finding::ok("loss", "no connection to measure it on".to_owned()),
    }
}

fn versions(facts: &Facts) -> Finding {
    let other = facts.members.iter().find(|member| member.version != facts.version);
    match other {
        None => Finding::ok("versions", format!("all run {}", facts.version)),
        Some(member) => {
            let found = format!("{} runs {}, this node {}", member.name, member.version, facts.version);
            Finding::not_ok("versions", Level::Warn, found, "finish the upgrade: versions one apart work together")
        }
    }
}

fn packets(facts: &Facts) -> Finding {
    match facts.least_mtu {
        Some(mtu) if mtu < MTU_LOW => {
            let hint = "something on the way carries only small packets; a tunnel's MTU can often be raised";
            Finding::not_ok("packet size", Level::Warn, format!("a path carries packets of {mtu} B"), hint)
        }
        Some(mtu) => Finding::ok("packet size", format!("every path carries packets of {mtu} B or more")),
        None => Finding::ok("packet size", "no connection to measure it on".to_owned()),
    }
}

fn receive_buffer(facts: &Facts) -> Finding {
    match facts.receive_buffer_most {
        Some(most) if most < RECEIVE_BUFFER_WANTED => {
            let found = format!("the kernel allows sockets to hold {most} B that wait to be read");
            let hint =
                "bursts on a fast link are lost: sysctl -w net.core.rmem_max=7500000, and in /etc/sysctl.d to keep it";
            Finding::not_ok("receive buffer", Level::Warn, found, hint)
        }
        Some(most) => Finding::ok("receive buffer", format!("{most} B")),
        None => Finding::ok("receive buffer", "this kernel does not say".to_owned()),
    }
}

fn files(facts: &Facts) -> Finding {
    let (Some(open), Some(most)) = (facts.open_files, facts.open_files_most) else {
        return Finding::ok("open files", "this kernel does not say".to_owned());
    };
    let found = format!("{open} of {most}");
    if most.saturating_sub(open) < FILES_LEFT_LOW {
        let hint = "raise LimitNOFILE of the unit, or ulimit -n, and start the node again";
        return Finding::not_ok("open files", Level::Warn, found, hint);
    }
    Finding::ok("open files", found)
}

fn disk(facts: &Facts) -> Finding {
    let took = match &facts.sync {
        Ok(took) => *took,
        Err(why) => {
            let hint = "nothing that has to be kept can be: free the disk or mend it";
            return Finding::not_ok("disk", Level::Wrong, format!("a small file cannot be written: {why}"), hint);
        }
    };
    let found = format!("a synced write takes {:.1} ms", took.as_secs_f64() * 1e3);
    if took > SYNC_WRONG {
        Finding::not_ok("disk", Level::Wrong, found, "the disk is failing or overloaded: move the data to another")
    } else if took > SYNC_SLOW {
        Finding::not_ok("disk", Level::Warn, found, "transfers wait for it: see what else writes to this disk")
    } else {
        Finding::ok("disk", found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Facts {
        Facts {
            now: WallTime(1_000_000),
            renew_at: WallTime(1_040_000),
            certificate_ends: WallTime(1_080_000),
            issuing_ends: Some(WallTime(3_000_000)),
            root_key_here: false,
            clock: ClockVerdict::Plausible,
            open_files: Some(40),
            open_files_most: Some(1024),
            receive_buffer_most: Some(RECEIVE_BUFFER_WANTED),
            sync: Ok(Duration::from_millis(3)),
            members: Vec::new(),
            version: "0.1.0",
            least_mtu: Some(1452),
            not_ready: None,
        }
    }

    /// Makes one fact bad.
    type Spoil = fn(&mut Facts);

    fn level(facts: &Facts, check: &str) -> Level {
        judge(facts).into_iter().find(|finding| finding.check == check).unwrap().level
    }

    #[test]
    fn a_healthy_node_is_told_nothing_to_do() {
        assert!(judge(&healthy()).iter().all(|finding| finding.level == Level::Ok && finding.hint.is_empty()));
    }

    #[test]
    fn whatever_is_ill_is_found_and_has_a_hint() {
        let ill: [(&str, Level, Spoil); 12] = [
            ("readiness", Level::Warn, |facts| facts.not_ready = Some("the node drains".to_owned())),
            ("certificate", Level::Warn, |facts| facts.now = facts.renew_at),
            ("certificate", Level::Wrong, |facts| facts.now = facts.certificate_ends),
            ("issuing authority", Level::Warn, |facts| facts.issuing_ends = Some(WallTime(facts.now.0 + 86_400))),
            ("issuing authority", Level::Wrong, |facts| facts.issuing_ends = Some(facts.now)),
            ("root key", Level::Warn, |facts| facts.root_key_here = true),
            ("machine clock", Level::Warn, |facts| facts.clock = ClockVerdict::Behind),
            ("packet size", Level::Warn, |facts| facts.least_mtu = Some(1200)),
            ("receive buffer", Level::Warn, |facts| facts.receive_buffer_most = Some(212_992)),
            ("open files", Level::Warn, |facts| facts.open_files = Some(1000)),
            ("disk", Level::Warn, |facts| facts.sync = Ok(Duration::from_millis(80))),
            ("disk", Level::Wrong, |facts| facts.sync = Err("no space left on device".to_owned())),
        ];
        for (check, wanted, spoil) in ill {
            let mut facts = healthy();
            spoil(&mut facts);
            assert_eq!(level(&facts, check), wanted, "{check}");
            let others = judge(&facts).into_iter().filter(|finding| finding.check != check);
            assert!(others.into_iter().all(|finding| finding.level == Level::Ok), "{check} alone");
            assert!(judge(&facts).iter().any(|finding| finding.check == check && !finding.hint.is_empty()));
        }
    }
}
