//! How long it takes to plan the change of a large running tree.

use std::time::{Duration, Instant};

use covenant_supervision::{
    ChildId, ChildKind, ChildNode, ChildSpec, Host, Mailbox, RunningChild, Strategy, SupervisorSpec, Tree, TreeSpec,
    Work, plan_change,
};

use crate::Failure;
use crate::report::{Outcome, Row, Unit};

const ROUNDS: usize = 9;
const SUPERVISORS: usize = 100;
const CHILDREN_OF_EACH: usize = 1000;
/// Every so many children one is restarted, one is new, one is gone and one has another rule.
const CHANGES_EVERY: usize = 100;
/// The mark.
pub(crate) const MARK: f64 = 0.2;

/// Seconds of each of `count` rounds, after one that warms up.
pub(crate) fn rounds(count: usize) -> Result<Vec<f64>, Failure> {
    let (before, after) = (tree(false)?, tree(true)?);
    let running = running(&before);
    let mut rounds = Vec::new();
    for round in 0..=count {
        let (took, changes) = timed(&before, &running, &after)?;
        let wanted = SUPERVISORS * CHILDREN_OF_EACH / CHANGES_EVERY * 3;
        if changes != wanted {
            return Err(format!("the plan has {changes} changes instead of {wanted}").into());
        }
        if round > 0 {
            rounds.push(took.as_secs_f64());
        }
    }
    Ok(rounds)
}

pub(crate) fn run() -> Result<Outcome, Failure> {
    let rounds = rounds(ROUNDS)?;
    let children = SUPERVISORS * CHILDREN_OF_EACH;
    let rows = vec![Row::new(format!("plan over {children} children"), Unit::Seconds, rounds).at_most(MARK)];
    let notes = vec![format!(
        "{ROUNDS} rounds; the comparison and its hash, of {SUPERVISORS} supervisors with {CHILDREN_OF_EACH} children each, of \
         which 4 % change; reading files is not part of it, and files may name 10000 children"
    )];
    Ok(Outcome { rows, notes })
}

fn timed(before: &TreeSpec, running: &[RunningChild], after: &TreeSpec) -> Result<(Duration, usize), Failure> {
    let began = Instant::now();
    let (before, after) = (Tree { spec: before, hash: "before" }, Tree { spec: after, hash: "after" });
    let plan = plan_change("hub-one", before, running, after)?;
    let took = began.elapsed();
    Ok((took, plan.stops.len() + plan.restarts.len() + plan.starts.len()))
}

fn tree(changed: bool) -> Result<TreeSpec, Failure> {
    let child = |at: usize| -> Result<ChildNode, Failure> {
        let below = (0..CHILDREN_OF_EACH).map(|worker| worker_of(worker, changed)).collect::<Result<Vec<_>, _>>()?;
        let id = ChildId::new(&format!("s{at}"))?;
        Ok(node(ChildSpec::new(id, ChildKind::Supervisor), Work::Tree(supervisor("workers", below))))
    };
    Ok(supervisor("main", (0..SUPERVISORS).map(child).collect::<Result<_, _>>()?))
}

fn worker_of(at: usize, changed: bool) -> Result<ChildNode, Failure> {
    let place = at % CHANGES_EVERY;
    let id = if changed && place == 0 { format!("new{at}") } else { format!("worker{at}") };
    let mut spec = ChildSpec::new(ChildId::new(&id)?, ChildKind::Worker);
    if changed && place == 1 {
        spec.kill_grace = Duration::from_secs(2);
    }
    let size: i64 = if changed && place == 2 { 2 } else { 1 };
    let config = [("size".to_owned(), size.into()), ("name".to_owned(), format!("worker {at}").into())];
    let config = config.into_iter().collect();
    let work = Work::Behaviour { name: "bench.worker".to_owned(), config, file: "workers.toml".to_owned(), line: at };
    Ok(node(spec, work))
}

fn node(spec: ChildSpec, work: Work) -> ChildNode {
    ChildNode { spec, mailbox: Mailbox::default(), host: Host::default(), work }
}

fn supervisor(name: &str, children: Vec<ChildNode>) -> TreeSpec {
    let specs = children.iter().map(|child| child.spec.clone()).collect();
    TreeSpec { name: name.to_owned(), spec: SupervisorSpec::new(Strategy::OneForOne, specs), children, partitions: 1 }
}

fn running(tree: &TreeSpec) -> Vec<RunningChild> {
    let child = |child: &ChildNode| {
        let id = child.spec.id.to_string();
        match &child.work {
            Work::Behaviour { name, .. } => RunningChild { id, behaviour: Some(name.clone()), children: Vec::new() },
            Work::Tree(below) => RunningChild { id, behaviour: None, children: running(below) },
        }
    };
    tree.children.iter().map(child).collect()
}
