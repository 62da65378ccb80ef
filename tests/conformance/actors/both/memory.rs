//! What is kept of children that are gone, or never come back: cases 53 and 64. Bytes are counted on this thread, which is
//! the only one that the runtime of these cases has. Nothing panics in them: a backtrace fills caches that stay.

use covenant_supervision::{ChildId, ChildNode, Work};
use covenant_types::ActorPath;

use super::support::{self, End, Rig, probes, subtree};

/// Bytes of a start argument.
const ARGUMENT: usize = 100_000;
/// Children of one measurement.
const CHILDREN: u32 = 20;

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn argument() -> toml::Table {
    // A text that the probe reads and that means nothing to it.
    toml::Table::from_iter([("down".to_owned(), "x".repeat(ARGUMENT).into())])
}

/// Bytes that `act` leaves behind.
fn left_by(act: impl FnOnce()) -> i64 {
    allocation_counter::measure(act).bytes_current
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A dynamic supervisor at `/pool` whose template has that restart type.
fn pool(runtime: &tokio::runtime::Runtime, restart: &str) -> Rig {
    let below = probes("strategy = \"dynamic\"; intensity = 1000", &[("t", &format!("restart = \"{restart}\""))]);
    runtime.block_on(Rig::start(&subtree("pool", ""), &[("pool", &below)]))
}

async fn instance(rig: &Rig, n: u32) {
    let id = ChildId::new(&format!("i{n}")).unwrap();
    rig.system.start_instance(&path("/pool"), Some(id), argument()).await.unwrap();
}

#[test]
fn simple_one_for_one_corruption() {
    let runtime = runtime();
    let mut rig = pool(&runtime, "temporary");
    let mut round = |first: u32| {
        left_by(|| {
            runtime.block_on(async {
                for n in first..first + CHILDREN {
                    instance(&rig, n).await;
                    rig.end(&format!("/pool/i{n}"), if n.is_multiple_of(2) { End::Error } else { End::Normal }).await;
                    rig.exit_of(&format!("/pool/i{n}")).await;
                    support::eventually(|| rig.find(&format!("/pool/i{n}")).is_none()).await;
                }
            });
        })
    };
    round(0); // what a first round allocates once
    let left = round(CHILDREN);
    assert!(left < ARGUMENT as i64 / 2, "{CHILDREN} have come and gone, and {left} bytes stay");
}

#[test]
fn do_not_save_start_parameters_for_temporary_children() {
    let instances = |restart: &str| {
        let runtime = runtime();
        let rig = pool(&runtime, restart);
        left_by(|| {
            runtime.block_on(async {
                for n in 0..CHILDREN {
                    instance(&rig, n).await;
                }
            });
        })
    };
    let children = |strategy: &str, restart: &str| {
        let runtime = runtime();
        let rig = runtime.block_on(Rig::start(&probes(&format!("strategy = \"{strategy}\""), &[]), &[]));
        left_by(|| {
            runtime.block_on(async {
                for n in 0..CHILDREN {
                    let keys = format!("restart = \"{restart}\"");
                    let mut child: ChildNode =
                        support::tree(&probes("", &[(&format!("i{n}"), &keys)]), &[]).children.remove(0);
                    let Work::Behaviour { config, .. } = &mut child.work else { panic!("it is a behaviour") };
                    *config = argument();
                    rig.system.start_child(&ActorPath::root(), child).await.unwrap();
                }
            });
        })
    };
    // The probe itself keeps its argument, as its state. What is kept beside it is the supervisor's.
    let state = ARGUMENT as i64 * i64::from(CHILDREN);
    for restart in ["permanent", "transient", "temporary"] {
        let kept = if restart == "temporary" { 1 } else { 2 };
        let expected = kept * state..(kept * state + state / 2);
        for strategy in ["one_for_one", "one_for_all", "rest_for_one"] {
            let left = children(strategy, restart);
            assert!(expected.contains(&left), "{strategy} {restart}: {left} bytes for {CHILDREN}");
        }
        let left = instances(restart);
        assert!(expected.contains(&left), "dynamic {restart}: {left} bytes for {CHILDREN}");
    }
}
