//! One thread, and time that passes when everything waits.

use tokio::runtime::Builder;

/// How often everything that is ready is polled before a test is told that something was left running.
const POLLS: usize = 1_000;

/// Runs a test to its end, in virtual time: where everything waits, time jumps to the next moment somebody waits for.
///
/// Real sockets and blocking threads do not go well with it: while they are waited for, time jumps.
///
/// # Panics
/// The test does, or it leaves tasks running that no actor of a dropped tree owned.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime of one thread");
    runtime.block_on(async {
        let output = test.await;
        let tasks = tokio::runtime::Handle::current().metrics();
        // What was dropped ends when it is polled the next time.
        for _ in 0..POLLS {
            if tasks.num_alive_tasks() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        let left = tasks.num_alive_tasks();
        assert!(left == 0, "the test left {left} tasks running: who started them should own them, see `ctx.spawn`");
        output
    })
}
