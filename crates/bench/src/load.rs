//! Clients that write one after another, as fast as they are answered or at a pace.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::Failure;
use crate::stats::rate;

/// What clients write to.
pub(crate) trait Target: Send + Sync + 'static {
    /// Writes `records` records and waits until they are safe. `number` is never the same twice.
    fn write(&self, number: u64, records: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How clients write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// In each write.
    pub(crate) records: usize,
    pub(crate) during: Duration,
    /// Writes a second of all clients together; without it, each writes as soon as it was answered.
    pub(crate) pace: Option<f64>,
}

/// What the clients of one round had answered.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) took: Vec<Duration>,
    within: Duration,
}

impl Round {
    pub(crate) fn done(&self) -> usize {
        self.took.len()
    }

    pub(crate) fn rate(&self) -> f64 {
        rate(self.took.len() as u64, self.within)
    }
}

impl Load {
    /// Has the clients write to `target`. Numbers begin after `next`, which is moved behind all that could be used.
    pub(crate) fn against<T: Target>(
        self,
        target: &Arc<T>,
        next: &mut u64,
    ) -> impl Future<Output = Result<Round, Failure>> + Send + 'static {
        let (target, first) = (target.clone(), *next);
        *next += CLIENT_NUMBERS * self.clients as u64;
        async move {
            let began = Instant::now();
            let each = (0..self.clients as u64)
                .map(|client| one_client(target.clone(), self, first + client * CLIENT_NUMBERS, began + self.during));
            let took = try_join_all(each).await?.into_iter().flatten().collect();
            Ok(Round { took, within: began.elapsed() })
        }
    }
}

/// More than one client can use in a round.
const CLIENT_NUMBERS: u64 = 1 << 24;

async fn one_client<T: Target>(
    target: Arc<T>,
    load: Load,
    first: u64,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let between = load.pace.map(|pace| Duration::from_secs_f64(load.clients as f64 / pace));
    let mut took = Vec::new();
    let (mut number, mut due) = (first, Instant::now());
    while Instant::now() < until {
        number += 1;
        if let Some(between) = between {
            // From when it was due, so that one that is slow does not hide those behind it.
            tokio::time::sleep_until(due.into()).await;
            target.write(number, load.records).await?;
            took.push(due.elapsed());
            due += between;
        } else {
            let began = Instant::now();
            target.write(number, load.records).await?;
            took.push(began.elapsed());
        }
    }
    Ok(took)
}
