//! A fixed set of OS threads that run jobs, one thread per job at a time. No job waits inside a queue twice.
//!
//! The log threads and the flushers are such pools: they may block on the disk, so they are no async workers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and asked for once more meanwhile.
const AGAIN: u8 = 3;

/// A job's place in its pool: knows whether it waits, runs, or must run again.
#[derive(Default)]
pub(crate) struct Slot(AtomicU8);

/// What a pool does with a job.
pub(crate) struct Work<J> {
    /// The job's place in this pool (it may have one in another, too).
    pub(crate) slot: fn(&J) -> &Slot,
    /// Does what waits, or asks for the job again; must not wait for other jobs.
    pub(crate) run: fn(&Arc<J>),
    /// `run` panicked: make sure that nobody waits for this job forever.
    pub(crate) panicked: fn(&Arc<J>),
    /// How one thread does many jobs together, if that is cheaper than one by one.
    pub(crate) many: Option<Many<J>>,
}

/// Jobs that one thread takes together.
pub(crate) struct Many<J> {
    /// Only if at least so many wait …
    pub(crate) from: usize,
    /// … and it is possible at this moment.
    pub(crate) possible: fn(&J) -> bool,
    /// At most so many.
    pub(crate) most: usize,
    /// Does what waits for each of them.
    pub(crate) run: fn(&[Arc<J>]),
}

struct State<J> {
    ready: VecDeque<Arc<J>>,
    closed: bool,
}

struct Shared<J> {
    work: Work<J>,
    state: Mutex<State<J>>,
    wake: Condvar,
}

/// The threads and their queue.
pub(crate) struct Pool<J> {
    shared: Arc<Shared<J>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<J: Send + Sync + 'static> Pool<J> {
    /// Starts `count` threads called `name-0`, `name-1`, …
    pub(crate) fn start(name: &str, count: usize, work: Work<J>) -> std::io::Result<Self> {
        let state = Mutex::new(State { ready: VecDeque::new(), closed: false });
        let shared = Arc::new(Shared { work, state, wake: Condvar::new() });
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || shared.serve())?);
        }
        Ok(Pool { shared, threads: Mutex::new(threads) })
    }

    /// Lets `job` run soon; if it runs now, it runs once more afterwards.
    pub(crate) fn submit(&self, job: &Arc<J>) {
        let slot = &(self.shared.work.slot)(job).0;
        let mut seen = slot.load(Ordering::Acquire);
        loop {
            let next = match seen {
                IDLE => QUEUED,
                RUNNING => AGAIN,
                _ => return,
            };
            match slot.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next == QUEUED => return self.shared.push(Arc::clone(job)),
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// Runs what is queued, then ends the threads.
    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked outside a job has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl<J> Shared<J> {
    fn push(&self, job: Arc<J>) {
        self.state.lock().ready.push_back(job);
        self.wake.notify_one();
    }

    /// The next job, or several that are cheaper together; none when the pool is closed and empty.
    fn pop(&self) -> Vec<Arc<J>> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.ready.pop_front() {
                let waiting = state.ready.len() + 1;
                let many = self.work.many.as_ref().filter(|many| waiting >= many.from && (many.possible)(&job));
                let further = many.map_or(0, |many| many.most.min(waiting) - 1);
                return std::iter::once(job).chain(state.ready.drain(..further)).collect();
            }
            if state.closed {
                return Vec::new();
            }
            self.wake.wait(&mut state);
        }
    }

    fn serve(&self) {
        loop {
            let jobs = self.pop();
            let Some(first) = jobs.first() else { return };
            for job in &jobs {
                (self.work.slot)(job).0.store(RUNNING, Ordering::Release);
            }
            let run = || match &self.work.many {
                Some(many) if jobs.len() > 1 => (many.run)(&jobs),
                _ => (self.work.run)(first),
            };
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                jobs.iter().for_each(|job| (self.work.panicked)(job));
            }
            for job in jobs {
                let slot = &(self.work.slot)(&job).0;
                if slot.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    slot.store(QUEUED, Ordering::Release);
                    self.push(job);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;

    struct Counter {
        slot: Slot,
        inside: AtomicUsize,
        pending: Mutex<usize>,
        done: Mutex<mpsc::Sender<usize>>,
    }

    fn count(job: &Arc<Counter>) {
        assert_eq!(job.inside.fetch_add(1, Ordering::SeqCst), 0, "one thread per job at a time");
        let taken = std::mem::take(&mut *job.pending.lock());
        job.inside.fetch_sub(1, Ordering::SeqCst);
        job.done.lock().send(taken).unwrap();
    }

    #[test]
    fn every_submission_is_seen_and_no_job_runs_twice_at_once() {
        let (sender, receiver) = mpsc::channel();
        let many = Many { from: 2, possible: |_| true, most: 8, run: |jobs| jobs.iter().for_each(count) };
        let work = Work {
            slot: |job: &Counter| &job.slot,
            run: count,
            panicked: |_| panic!("no job fails here"),
            many: Some(many),
        };
        let pool = Arc::new(Pool::start("test", 4, work).unwrap());
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                Arc::new(Counter {
                    slot: Slot::default(),
                    inside: AtomicUsize::new(0),
                    pending: Mutex::new(0),
                    done: Mutex::new(sender.clone()),
                })
            })
            .collect();
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let (pool, jobs) = (Arc::clone(&pool), jobs.clone());
                std::thread::spawn(move || {
                    for job in jobs.iter().cycle().take(5_000) {
                        *job.pending.lock() += 1;
                        pool.submit(job);
                    }
                })
            })
            .collect();
        for submitter in submitters {
            submitter.join().unwrap();
        }
        let mut seen = 0;
        while seen < 20_000 {
            seen += receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        }
        pool.close();
        assert_eq!(seen, 20_000);
    }
}
