//! Requests that are made to wait, so that something else can happen at exactly that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Where a held request waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// It has arrived, and nothing has come of it.
    Before,
    /// It is carried out, and its answer waits.
    After,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    GoesOn,
    Vanishes,
}

/// The next request of this kind waits until this is let go. Dropping it lets the request go on, or takes the trap away.
pub struct Held {
    pub(crate) trap: Arc<Trap>,
    pub(crate) fate: watch::Sender<Option<Fate>>,
}

pub(crate) struct Trap {
    /// Each of these is part of the request's line, or of the body of a deletion.
    parts: Vec<String>,
    pub(crate) point: Point,
    caught: AtomicBool,
    pub(crate) answered: watch::Sender<bool>,
    fate: watch::Receiver<Option<Fate>>,
}

impl Held {
    pub(crate) fn new(parts: &[&str], point: Point) -> Self {
        let (sender, fate) = watch::channel(None);
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        let (caught, answered) = (AtomicBool::new(false), watch::Sender::new(false));
        Held { trap: Arc::new(Trap { parts, point, caught, answered, fate }), fate: sender }
    }

    /// Does a request wait at its point?
    pub fn is_caught(&self) -> bool {
        self.trap.caught.load(Ordering::SeqCst)
    }

    /// Ready once the request has been carried out, or has vanished, and its answer is on its way; also if the server has ended.
    pub fn answered(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut answered = self.trap.answered.subscribe();
        async move {
            let _ = answered.wait_for(|answered| *answered).await;
        }
    }

    /// The request goes on, whether its sender still lives or not.
    pub fn let_go(self) {
        self.fate.send_replace(Some(Fate::GoesOn));
    }

    /// The request vanishes on its way; one that was carried out stays so.
    pub fn lose(self) {
        self.fate.send_replace(Some(Fate::Vanishes));
    }
}

/// The traps that nothing has fallen into.
#[derive(Default)]
pub(crate) struct Traps(Mutex<Vec<Arc<Trap>>>);

impl Traps {
    pub(crate) fn set(&self, trap: &Arc<Trap>) {
        self.0.lock().push(Arc::clone(trap));
    }

    /// The trap for a request of which this is known.
    pub(crate) fn take(&self, known: &str) -> Option<Arc<Trap>> {
        let mut traps = self.0.lock();
        traps.retain(|trap| trap.fate.has_changed().is_ok());
        let at = traps.iter().position(|trap| trap.parts.iter().all(|part| known.contains(part)))?;
        Some(traps.remove(at))
    }
}

impl Trap {
    /// Waits for the fate.
    pub(crate) async fn wait(&self) -> Fate {
        self.caught.store(true, Ordering::SeqCst);
        let mut fate = self.fate.clone();
        // Whoever set the trap has gone: the request goes on.
        let decided = fate.wait_for(Option::is_some).await.ok().and_then(|fate| *fate);
        decided.unwrap_or(Fate::GoesOn)
    }
}
