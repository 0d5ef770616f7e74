//! 500 seeded lives of the coordinators of groups and of transactions; `TIDELOG_SEEDS=500..1000` lives others.

use tidelog_sim::{CoordinatorReport, run_all_coordinators, run_coordinators, seeds_or};

#[test]
fn no_promise_of_a_coordinator_is_broken() {
    let seeds = seeds_or(0..500).unwrap();
    let lives = (seeds.end - seeds.start) as usize;
    let report = run_all_coordinators(seeds).unwrap_or_else(|error| panic!("{error}"));
    println!("{lives} lives: {report:?}");
    // The lives must be hard enough to prove something.
    let CoordinatorReport { commits, reports, ends, markers, restarts, power_cuts, refused, .. } = report;
    let enough = [
        ("commits", commits, 10),
        ("reports", reports, 5),
        ("ends", ends, 2),
        ("markers", markers, 2),
        ("restarts", restarts, 5),
        ("power cuts", power_cuts, 2),
    ];
    for (what, count, least) in enough {
        assert!(count >= least * lives, "{lives} lives had only {count} {what}");
    }
    assert!(lives < 100 || refused >= lives / 4, "{lives} lives: {report:?}");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in [0, 3, 77, 1_000_003] {
        assert_eq!(run_coordinators(seed, false), run_coordinators(seed, false));
    }
}

/// The proof can fail: answers that leave before the flush are forgotten when the power goes.
#[test]
fn answering_before_the_flush_is_found_out() {
    let found = (0..20).filter(|seed| run_coordinators(*seed, true).is_err()).count();
    assert!(found >= 15, "only {found} of 20 lives lost something");
}
