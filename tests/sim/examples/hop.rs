//! What the append queue costs: handing an append to a log thread and waiting for its answer, against a direct call under a lock.
//!
//! `cargo run --release -p tidelog-sim --example hop`
//!
//! The hop is made of what the broker's pool is made of: a queue under a mutex, a condition variable that wakes the log thread, and a
//! oneshot channel for the answer. The work is the same in both: 100 bytes into a buffer, as `write` would do without a disk. Producers
//! wait for each answer (depth 1), or keep many requests on their way (depth 64), as pipelining clients do.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// One append, bytes.
const BYTES: usize = 100;

/// Appends of one measurement, over all producers.
const APPENDS: usize = 400_000;

/// Measurements of each kind; the best counts.
const ROUNDS: usize = 5;

/// The log: a buffer that starts anew when it is full.
struct Log {
    buffer: Vec<u8>,
    end: u64,
}

impl Log {
    fn new() -> Self {
        Log { buffer: Vec::with_capacity(1 << 20), end: 0 }
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        if self.buffer.len() + bytes.len() > self.buffer.capacity() {
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(black_box(bytes));
        self.end += 1;
        self.end
    }
}

/// One append on its way.
struct Entry {
    bytes: [u8; BYTES],
    reply: oneshot::Sender<u64>,
}

#[derive(Default)]
struct Queue {
    entries: Mutex<(VecDeque<Entry>, bool)>,
    wake: Condvar,
}

impl Queue {
    fn push(&self, entry: Entry) {
        self.entries.lock().0.push_back(entry);
        self.wake.notify_one();
    }

    fn close(&self) {
        self.entries.lock().1 = true;
        self.wake.notify_one();
    }

    /// Everything that waits; nothing once the queue is closed.
    fn take(&self) -> VecDeque<Entry> {
        let mut entries = self.entries.lock();
        while entries.0.is_empty() && !entries.1 {
            self.wake.wait(&mut entries);
        }
        std::mem::take(&mut entries.0)
    }
}

fn log_thread(queue: &Queue) {
    let mut log = Log::new();
    loop {
        let entries = queue.take();
        if entries.is_empty() {
            return;
        }
        for entry in entries {
            // The producer may have gone.
            let _ = entry.reply.send(log.append(&entry.bytes));
        }
    }
}

/// Runs `produce(appends)` on so many threads at once; the time from the first that begins to the last that is done.
fn timed(producers: usize, produce: impl Fn(usize) + Sync) -> Duration {
    let start = Barrier::new(producers);
    let spans: Mutex<Vec<(Instant, Instant)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| {
                start.wait();
                let began = Instant::now();
                produce(APPENDS / producers);
                spans.lock().push((began, Instant::now()));
            });
        }
    });
    let spans = spans.into_inner();
    let began = spans.iter().map(|(began, _)| *began).min();
    let ended = spans.iter().map(|(_, ended)| *ended).max();
    began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended.saturating_duration_since(began))
}

fn direct(producers: usize) -> Duration {
    let log = Mutex::new(Log::new());
    timed(producers, |appends| {
        for _ in 0..appends {
            black_box(log.lock().append(&[7; BYTES]));
        }
    })
}

fn hop(producers: usize, depth: usize) -> Duration {
    let queue = Arc::new(Queue::default());
    let thread = std::thread::spawn({
        let queue = Arc::clone(&queue);
        move || log_thread(&queue)
    });
    let took = timed(producers, |appends| {
        let mut waiting: VecDeque<oneshot::Receiver<u64>> = VecDeque::with_capacity(depth);
        for _ in 0..appends {
            if waiting.len() == depth
                && let Some(answer) = waiting.pop_front()
            {
                black_box(answer.blocking_recv().ok());
            }
            let (reply, answer) = oneshot::channel();
            queue.push(Entry { bytes: [7; BYTES], reply });
            waiting.push_back(answer);
        }
        for answer in waiting {
            black_box(answer.blocking_recv().ok());
        }
    });
    queue.close();
    // It has ended with the queue.
    let _ = thread.join();
    took
}

/// Nanoseconds per append: the best of several measurements.
fn best(measure: impl Fn() -> Duration) -> f64 {
    let times = (0..ROUNDS).map(|_| measure().as_nanos() as f64 / APPENDS as f64);
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{APPENDS} appends of {BYTES} bytes, best of {ROUNDS}, ns per append\n");
    println!("{:>9} {:>6} {:>10} {:>10} {:>7}", "producers", "depth", "direct", "hop", "ratio");
    for producers in [1, 8] {
        let call = best(|| direct(producers));
        for depth in [1, 64] {
            let queued = best(|| hop(producers, depth));
            println!("{producers:>9} {depth:>6} {call:>10.0} {queued:>10.0} {:>7.1}", queued / call);
        }
    }
}
