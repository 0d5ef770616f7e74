//! How long the threads of queries work for one of them. Counts only; what it costs whom is decided elsewhere.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::future::BoxFuture;

tokio::task_local! {
    /// The query that the running task works for.
    static QUERY: Arc<QueryWork>;
}

/// What one query took of the threads so far; it goes on while the query runs.
#[derive(Debug, Default)]
pub struct QueryWork(AtomicU64);

impl QueryWork {
    /// The time of all threads together.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn add<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        done
    }
}

/// The same work, counted; with what DataFusion spawns for it.
pub(crate) fn counted<F: Future>(work: &Arc<QueryWork>, future: F) -> impl Future<Output = F::Output> + use<F> {
    // Another engine of this process may have done it.
    let _ = set_join_set_tracer(&Spawned);
    QUERY.scope(Arc::clone(work), Counted { work: Arc::clone(work), future: Box::pin(future) })
}

struct Counted<F> {
    work: Arc<QueryWork>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let future = &mut this.future;
        this.work.add(|| future.as_mut().poll(context))
    }
}

type Anything = Box<dyn Any + Send>;

/// Tasks belong to the query of the task that spawned them.
struct Spawned;

impl JoinSetTracer for Spawned {
    fn trace_future(&self, future: BoxFuture<'static, Anything>) -> BoxFuture<'static, Anything> {
        match QUERY.try_with(Arc::clone) {
            Ok(work) => Box::pin(counted(&work, future)),
            Err(_) => future,
        }
    }

    fn trace_block(&self, block: Box<dyn FnOnce() -> Anything + Send>) -> Box<dyn FnOnce() -> Anything + Send> {
        match QUERY.try_with(Arc::clone) {
            Ok(work) => Box::new(move || work.add(block)),
            Err(_) => block,
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::runtime::SpawnedTask;

    use super::*;

    fn busy(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn what_a_query_spawns_counts_and_waiting_does_not() {
        let (work, step) = (Arc::new(QueryWork::default()), Duration::from_millis(20));
        let query = async move {
            busy(step);
            let inner = SpawnedTask::spawn(async move {
                busy(step);
                SpawnedTask::spawn_blocking(move || busy(step)).await.unwrap();
            });
            inner.await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        let began = Instant::now();
        counted(&work, query).await;
        let waited = began.elapsed();
        assert!(work.time() >= 3 * step, "{:?}", work.time());
        assert!(work.time() + Duration::from_secs(1) < waited, "{:?} of {waited:?}", work.time());
        SpawnedTask::spawn(async move { busy(step) }).await.unwrap();
        assert!(work.time() < waited, "what is nobody's counts for nobody");
    }
}
