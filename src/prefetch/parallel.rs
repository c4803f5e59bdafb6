//! Many things done side by side, so many at once.

use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// What `work` makes of each of the `items`, in the order in which they were done. What is under way ends when the returned future is dropped.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when one of them panics.
pub(super) async fn each<T, F>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> F,
) -> Result<Vec<F::Output>>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (mut items, mut tasks, mut done) = (items.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < at_once
            && let Some(item) = items.next()
        {
            tasks.spawn(work(item));
        }
        match tasks.join_next().await {
            None => return Ok(done),
            Some(Ok(output)) => done.push(output),
            Some(Err(e)) => return Err(Error::ended_early("a task", e)),
        }
    }
}
