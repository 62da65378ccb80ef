//! Waiting no longer than agreed.

use std::future::Future;
use std::time::Duration;

/// The output of `future`, or `None` when `deadline` passes first.
pub(crate) async fn within<T>(deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(deadline, future).await.ok()
}
