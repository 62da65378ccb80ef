//! What the kernel says about this process, and what its runtimes say.

use covenant_env::{Env, Metrics};
use metrics::Gauge;

/// The resident memory of this process in bytes; `None` where the kernel does not say.
pub fn rss_bytes() -> Option<u64> {
    // Not /proc/self/statm: it counts pages, and std does not tell the size of one.
    rss_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// How many files this process has open; `None` where the kernel does not say.
pub fn open_files() -> Option<u64> {
    // One of them is the directory that is being read.
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count.saturating_sub(1)).ok()
}

/// How many files this process may have open; `None` where the kernel does not say.
pub fn open_files_most() -> Option<u64> {
    open_files_most_in(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

/// The largest receive buffer that the kernel grants a socket, in bytes; `None` where it does not say.
pub fn receive_buffer_most() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
}

fn open_files_most_in(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn rss_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The gauges every node has about its process.
pub struct ProcessGauges {
    rss: Gauge,
    files: Gauge,
    uptime: Gauge,
    system_tasks: Gauge,
    work_tasks: Gauge,
}

impl ProcessGauges {
    /// Gauges in `metrics`, not set yet.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            rss: metrics.gauge("process_resident_memory_bytes", &[]),
            files: metrics.gauge("process_open_fds", &[]),
            uptime: metrics.gauge("covenant_uptime_seconds", &[]),
            system_tasks: metrics.gauge("covenant_tasks", &[("runtime", "system")]),
            work_tasks: metrics.gauge("covenant_tasks", &[("runtime", "work")]),
        }
    }

    /// Asks the kernel and the runtimes again. Reads two small files of /proc.
    pub fn update(&self, env: &Env) {
        if let Some(bytes) = rss_bytes() {
            self.rss.set(gauge_value(bytes));
        }
        if let Some(count) = open_files() {
            self.files.set(gauge_value(count));
        }
        self.uptime.set(env.now().0.as_secs_f64());
        for (gauge, runtime) in [(&self.system_tasks, &env.system), (&self.work_tasks, &env.work)] {
            gauge.set(gauge_value(u64::try_from(runtime.alive()).unwrap_or(u64::MAX)));
        }
    }
}

impl std::fmt::Debug for ProcessGauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessGauges")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is an f64; nothing here comes near 2^53")]
fn gauge_value(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeMetrics;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(rss_in("VmPeak:\t  900 kB\nVmRSS:\t   12 kB\nVmData:\t 5 kB\n"), Some(12 * 1024));
        assert_eq!(rss_in("VmRSS:\t many kB\n"), None);
        assert_eq!(rss_in(""), None);
    }

    #[test]
    fn the_limit_of_open_files_is_the_one_that_counts() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax processes  95 95 processes\nMax open files   1024   524288   files\n";
        assert_eq!(open_files_most_in(limits), Some(1024));
        assert_eq!(open_files_most_in("Max open files   unlimited   unlimited   files\n"), None);
        assert_eq!(open_files_most_in(""), None);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn this_process_has_memory_open_files_and_tasks() {
        let node = NodeMetrics::new();
        let (gauges, env) = (ProcessGauges::new(&node.metrics()), Env::for_test(1));
        let task = env.work.spawn(std::future::pending::<()>());
        gauges.update(&env);
        let text = node.render();
        assert!(text.contains("covenant_uptime_seconds 0."), "{text}");
        assert!(text.contains("covenant_tasks{runtime=\"work\"} 1"), "{text}");
        drop(task);
        tokio::task::yield_now().await;
        gauges.update(&env);
        assert!(node.render().contains("covenant_tasks{runtime=\"work\"} 0"));
        assert!(rss_bytes().unwrap() > 100 * 1024);
        assert!(open_files().unwrap() >= 3);
    }
}
