//! Many seeds, each on its own, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{CoordinatorReport, Flaw, Options, Report, run, run_coordinators};

/// The seeds that `TIDELOG_SEEDS` names (`500..1000`), or `usual`. A text that is no range is an error.
pub fn seeds_or(usual: Range<u64>) -> Result<Range<u64>, String> {
    let Ok(text) = std::env::var("TIDELOG_SEEDS") else { return Ok(usual) };
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.ok_or(format!("TIDELOG_SEEDS is a range like 500..1000, not {text:?}"))
}

/// Lives every seed under [`Options::of_seed`] and adds up their reports. The error is that of the lowest seed that failed, with the line
/// that runs it again.
pub fn run_all(seeds: Range<u64>) -> Result<Report, String> {
    all(seeds, "seeds", |seed| run(seed, Options::of_seed(seed)), Report::add)
}

/// The same for the lives of coordinators.
pub fn run_all_coordinators(seeds: Range<u64>) -> Result<CoordinatorReport, String> {
    all(seeds, "coordinators", |seed| run_coordinators(seed, Flaw::None), CoordinatorReport::add)
}

fn all<R: Default + Send>(
    seeds: Range<u64>,
    target: &str,
    live: impl Fn(u64) -> Result<R, String> + Sync,
    add: impl Fn(&mut R, &R) + Sync,
) -> Result<R, String> {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(R::default());
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match live(seed) {
                        Ok(report) => add(&mut sum.lock(), &report),
                        Err(error) => {
                            let mut failed = failed.lock();
                            if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                                *failed = Some((seed, error));
                            }
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        None => Ok(sum.into_inner()),
        Some((seed, error)) => {
            let again = format!("TIDELOG_SEEDS={seed}..{} cargo test -p tidelog-sim --test {target}", seed + 1);
            Err(format!("seed {seed}, {error}\nagain: {again}"))
        }
    }
}
