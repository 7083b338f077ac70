//! The same for many sessions, some of them at a time.

use tokio::task::JoinSet;

/// How many sessions are asked about at the same time.
pub(super) const AT_ONCE: usize = 32;

pub(super) async fn for_all<T, R, F>(all: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let (mut done, mut under_way) = (Vec::with_capacity(all.len()), JoinSet::new());
    for one in all {
        if under_way.len() == AT_ONCE
            && let Some(Ok(result)) = under_way.join_next().await
        {
            done.push(result);
        }
        under_way.spawn(work(one));
    }
    done.extend(under_way.join_all().await);
    done
}
