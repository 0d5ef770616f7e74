//! 500 seeded lives of log and partition; `TIDELOG_SEEDS=500..1000` lives others.

use tidelog_partition::Durability;
use tidelog_sim::{Options, Report, run, run_all, seeds_or};

#[test]
fn no_promise_is_broken() {
    let seeds = seeds_or(0..500).unwrap();
    let lives = (seeds.end - seeds.start) as usize;
    let report = run_all(seeds).unwrap_or_else(|error| panic!("{error}"));
    println!("{lives} lives: {report:?}");
    // The lives must be hard enough to prove something.
    let enough = [
        ("batches", report.batches, 20),
        ("acknowledged", report.acknowledged, 10),
        ("seen", report.seen, 5),
        ("duplicates", report.duplicates, 2),
        ("transactions", report.transactions, 5),
        ("restarts", report.restarts, 5),
    ];
    for (what, count, least) in enough {
        assert!(count >= least * lives, "{lives} lives had only {count} {what}");
    }
    let Report { timeouts, rolls, power_cuts, troubled_starts, taken_back, failures, full, damages, .. } = report;
    if lives >= 100 {
        let rare = [timeouts, rolls, power_cuts, troubled_starts, taken_back, failures, full, damages];
        assert!(rare.iter().all(|count| *count >= lives / 4), "{lives} lives: {report:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in [0, 3, 77, 1_000_003] {
        let options = Options::of_seed(seed);
        assert_eq!(run(seed, options), run(seed, options));
    }
}

/// The proof can fail: acknowledging before the flush loses records when the power goes, and the ledgers see it.
#[test]
fn acknowledging_before_the_flush_is_found_out() {
    let careless = Options { durability: Durability::PageCache, power_cuts: true };
    let found = (0..20).filter(|seed| run(*seed, careless).is_err()).count();
    assert!(found >= 15, "only {found} of 20 lives lost something");
}
