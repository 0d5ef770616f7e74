//! Pauses of callers beyond their quotas: the answer says how long (`throttle_time_ms`), and the connection is not read meanwhile
//! (KIP-219). What exceeds a quota is decided behind the use cases.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tidelog_broker::Broker;
use tidelog_model::{Caller, QuotaKind};

use crate::times::nanos;
use crate::usage::Usage;

/// Until when a connection is not read. Its reader and its answers share it.
#[derive(Clone)]
pub(crate) struct Mute {
    start: Instant,
    /// Milliseconds after the start.
    until: Arc<AtomicU64>,
}

impl Mute {
    pub(crate) fn new() -> Self {
        Mute { start: Instant::now(), until: Arc::new(AtomicU64::new(0)) }
    }

    fn extend(&self, pause: Duration) {
        let until = millis(self.start.elapsed().saturating_add(pause));
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// What is left of the pause, if anything.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.until.load(Ordering::Relaxed));
        until.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
    }
}

/// What one request has cost its caller so far.
pub(crate) struct Meter {
    broker: Broker,
    /// Whose quotas it counts against: nobody's as long as nobody knows who asks, as in Kafka. Otherwise strangers would use up what is
    /// everybody's whose listener asks for no name.
    payer: Option<Caller>,
    usage: &'static Usage,
    mute: Mute,
    /// Nanoseconds before the start.
    queued: u64,
    start: Instant,
    /// Nanoseconds from the start to the end of the ordered stage; 0 if it has not ended.
    handled: AtomicU64,
    /// Nanoseconds from the start to the answer; 0 if there is none.
    answered: AtomicU64,
    /// Nanoseconds of work that are over.
    busy: AtomicU64,
    /// Nanoseconds from the start to the work under way; 0 if there is none.
    entered: AtomicU64,
    /// Milliseconds.
    pause: AtomicU64,
    /// Bytes of the answer in memory.
    encoded: AtomicUsize,
}

impl Meter {
    pub(crate) fn new(
        broker: Broker,
        payer: Option<Caller>,
        usage: &'static Usage,
        mute: Mute,
        queued: Duration,
    ) -> Self {
        let zero = || AtomicU64::new(0);
        usage.requests.fetch_add(1, Ordering::Relaxed);
        usage.waiting.fetch_add(1, Ordering::Relaxed);
        Meter {
            broker,
            payer,
            usage,
            mute,
            queued: nanos(queued),
            start: Instant::now(),
            handled: zero(),
            answered: zero(),
            busy: zero(),
            entered: zero(),
            pause: zero(),
            encoded: AtomicUsize::new(0),
        }
    }

    /// The ordered stage is over.
    pub(crate) fn handled(&self) {
        self.handled.store(self.now(), Ordering::Relaxed);
    }

    /// The answer is there; now it is sent.
    pub(crate) fn answered(&self) {
        if self.answered.swap(self.now(), Ordering::Relaxed) == 0 {
            self.usage.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts what the caller uses.
    pub(crate) fn charge(&self, kind: QuotaKind, amount: usize) {
        if let Some(payer) = &self.payer {
            self.pause(kind, self.broker.charge(payer, kind, amount as f64));
        }
    }

    /// Counts what the caller would get; false if it must pause first, and then nothing is counted.
    pub(crate) fn allows(&self, kind: QuotaKind, amount: usize) -> bool {
        let Some(payer) = &self.payer else { return true };
        let pause = self.broker.charge_or_refuse(payer, kind, amount as f64);
        self.pause(kind, pause);
        pause.is_zero()
    }

    /// The caller must pause at least so long.
    pub(crate) fn pause(&self, kind: QuotaKind, pause: Duration) {
        if !pause.is_zero() {
            metrics::counter!("tidelog_kafka_throttled_requests_total", "quota" => kind.name()).increment(1);
            self.pause.fetch_max(millis(pause), Ordering::Relaxed);
            self.mute.extend(pause);
        }
    }

    /// Counts the time the request took until now; says the whole pause, as answers carry it.
    pub(crate) fn settle(&self) -> i32 {
        if let Some(payer) = self.payer.as_ref().filter(|_| self.broker.has_quotas()) {
            let entered = self.entered.load(Ordering::Relaxed);
            let running = if entered == 0 { 0 } else { self.now().saturating_sub(entered) };
            let nanos = self.busy.swap(0, Ordering::Relaxed) + running;
            if entered != 0 {
                self.entered.store(self.now(), Ordering::Relaxed);
            }
            let pause = self.broker.charge_time(payer, Duration::from_nanos(nanos));
            self.pause(QuotaKind::RequestPercentage, pause);
        }
        i32::try_from(self.pause.load(Ordering::Relaxed)).unwrap_or(i32::MAX)
    }

    /// The answer has so many bytes, and so many of them are in memory: the others lie in files or in the cold tier.
    pub(crate) fn measured(&self, bytes: usize, encoded: usize) {
        self.usage.response_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.encoded.store(encoded, Ordering::Relaxed);
    }

    /// Bytes of the answer that are in memory; 0 before there is one.
    pub(crate) fn encoded(&self) -> usize {
        self.encoded.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        nanos(self.start.elapsed()).max(1)
    }
}

impl Drop for Meter {
    /// The request is over, answered or not: a stage that it has not reached took it no time.
    fn drop(&mut self) {
        let end = self.now();
        if *self.answered.get_mut() == 0 {
            self.answered();
        }
        let answered = (*self.answered.get_mut()).min(end);
        let handled = match *self.handled.get_mut() {
            0 => answered,
            handled => handled.min(answered),
        };
        self.usage.queue.record(self.queued);
        self.usage.local.record(handled);
        self.usage.remote.record(answered - handled);
        self.usage.send.record(end - answered);
        self.usage.throttle.record(self.pause.get_mut().saturating_mul(1_000_000));
        self.usage.total.record(self.queued.saturating_add(end));
    }
}

/// Work for a request, whose time counts.
pub(crate) struct Timed<F> {
    meter: Arc<Meter>,
    work: F,
}

impl<F> Timed<F> {
    pub(crate) fn new(meter: Arc<Meter>, work: F) -> Self {
        Timed { meter, work }
    }
}

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let entered = self.meter.now();
        self.meter.entered.store(entered, Ordering::Relaxed);
        let polled = Pin::new(&mut self.work).poll(cx);
        let meter = &self.meter;
        // Settling may have moved the beginning.
        let entered = meter.entered.swap(0, Ordering::Relaxed);
        meter.busy.fetch_add(meter.now().saturating_sub(entered), Ordering::Relaxed);
        polled
    }
}

fn millis(time: Duration) -> u64 {
    // Upwards: a pause that is shorter than it should be lets the caller exceed its quota.
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_pause_is_not_cut_by_a_shorter_one() {
        let mute = Mute::new();
        assert_eq!(mute.left(), None);
        mute.extend(Duration::from_secs(100));
        mute.extend(Duration::from_secs(1));
        assert!(mute.left().is_some_and(|left| left > Duration::from_secs(90)));
    }
}
