//! The orderly stop of many children: of a supervisor that stops them one after the other, in reverse order, and of a dynamic
//! one, whose instances stop all at once.

use std::time::{Duration, Instant};

use covenant_runtime::{Observe, Resources, System};
use covenant_supervision::{
    ChildId, ChildKind, ChildNode, ChildSpec, Host as ActorHost, Mailbox, Strategy, SupervisorSpec, TreeSpec, Work,
};
use covenant_types::ActorPath;

use super::{Measured, Metric, STOPPED, STOPPED_FEW, STOPPED_FEW_TIMES, median, ours};
use crate::Failure;
use crate::nodes::{Host, start_spec, start_tree};

/// What no stop takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Seconds for each of many, and for each of few.
pub(super) fn measure(metric: Metric, host: ActorHost) -> Measured {
    let few = (0..STOPPED_FEW_TIMES).map(|_| stop(metric, host, STOPPED_FEW)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(vec![stop(metric, host, STOPPED)?, median(few)]))
}

fn stop(metric: Metric, host: ActorHost, count: u32) -> Result<f64, Failure> {
    let node = Host::new(1)?;
    let system = if metric == Metric::Stop {
        start_spec(&node, tree(host, count)?, ours::registry(), Resources::new(), Observe::default())?
    } else {
        let system = start_tree(&node, ours::files(host), ours::registry(), Resources::new())?;
        node.on_work(add_instances(system.clone(), count))?;
        system
    };
    let (took, report) = node.on_work(async move {
        let began = Instant::now();
        let report = system.stop(PATIENCE).await;
        Ok((began.elapsed(), report))
    })?;
    node.close();
    if !report.in_time || !report.still_running.is_empty() {
        return Err(format!("{count} children did not stop in order").into());
    }
    Ok(took.as_secs_f64() / f64::from(count))
}

async fn add_instances(system: System, count: u32) -> Result<(), Failure> {
    let pool: ActorPath = "/pool".parse()?;
    for _ in 0..count {
        system.start_instance(&pool, None, toml::Table::new()).await?;
    }
    Ok(())
}

/// A root with so many children of its own. A tree file may not name as many; a program may.
fn tree(host: ActorHost, count: u32) -> Result<TreeSpec, Failure> {
    let child = |at: u32| -> Result<ChildNode, Failure> {
        let spec = ChildSpec::new(ChildId::new(&format!("worker{at}"))?, ChildKind::Worker);
        let (name, config) = ("bench.small".to_owned(), toml::Table::new());
        let work = Work::Behaviour { name, config, file: "root.toml".to_owned(), line: 1 };
        Ok(ChildNode { spec, mailbox: Mailbox::default(), host, work })
    };
    let children = (0..count).map(child).collect::<Result<Vec<_>, _>>()?;
    let specs = children.iter().map(|child| child.spec.clone()).collect();
    let spec = SupervisorSpec::new(Strategy::OneForOne, specs);
    Ok(TreeSpec { name: "root".to_owned(), spec, children, partitions: 1 })
}
