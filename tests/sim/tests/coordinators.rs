//! 500 seeded lives of the coordinators of groups and of transactions; `TIDELOG_SEEDS=500..1000` lives others.

use tidelog_sim::{CoordinatorReport, Flaw, run_all_coordinators, run_coordinators, seeds_or};

#[test]
fn no_promise_of_a_coordinator_is_broken() {
    let seeds = seeds_or(0..500).unwrap();
    let lives = (seeds.end - seeds.start) as usize;
    let report = run_all_coordinators(seeds).unwrap_or_else(|error| panic!("{error}"));
    println!("{lives} lives: {report:?}");
    // The lives must be hard enough to prove something.
    let CoordinatorReport {
        commits,
        reports,
        ends,
        markers,
        positions,
        batches,
        compactions,
        restarts,
        power_cuts,
        refused,
        ..
    } = report;
    let enough = [
        ("commits", commits, 10),
        ("reports", reports, 5),
        ("ends", ends, 2),
        ("markers", markers, 2),
        ("positions in transactions", positions, 1),
        ("batches in transactions", batches, 2),
        ("compactions", compactions, 2),
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
        assert_eq!(run_coordinators(seed, Flaw::None), run_coordinators(seed, Flaw::None));
    }
}

/// The proof can fail: how many of so many lives with this flaw break a promise?
fn found_out(flaw: Flaw, lives: u64) -> usize {
    (0..lives).filter(|seed| run_coordinators(*seed, flaw).is_err()).count()
}

#[test]
fn answering_before_the_flush_is_found_out() {
    let found = found_out(Flaw::AnswersEarly, 20);
    assert!(found >= 15, "only {found} of 20 lives lost something");
}

#[test]
fn answering_to_a_marker_before_its_flush_is_found_out() {
    let found = found_out(Flaw::MarkedEarly, 40);
    assert!(found >= 4, "only {found} of 40 lives lost the end of a transaction");
}

#[test]
fn a_load_that_mistakes_the_ends_of_transactions_is_found_out() {
    let (aborted, lost) = (found_out(Flaw::CommitsAborted, 40), found_out(Flaw::MissesCommits, 40));
    assert!(aborted >= 2, "only {aborted} of 40 lives showed a position of an aborted transaction");
    assert!(lost >= 4, "only {lost} of 40 lives lost a position of a committed transaction");
}

#[test]
fn a_compaction_of_what_is_undecided_is_found_out() {
    let found = found_out(Flaw::CompactsOpen, 100);
    assert!(found >= 1, "no life of 100 lost what a transaction was to replace and did not");
}
