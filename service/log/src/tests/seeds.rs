//! Seeded lives of one log on the simulated disk. `TIDELOG_SEEDS=200..5000` lives others than the usual ones.

use std::ops::Range;

use crate::sim;

pub(super) fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("TIDELOG_SEEDS") else { return 0..200 };
    let (from, to) = text.split_once("..").expect("TIDELOG_SEEDS is a range like 200..5000");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn many_lives_lose_nothing_that_was_flushed() {
    let seeds = seeds();
    let (mut batches, mut crashes, mut taken_back) = (0, 0, 0);
    for seed in seeds.clone() {
        let report = sim::run(seed).unwrap_or_else(|error| {
            panic!("{error}\nagain: TIDELOG_SEEDS={seed}..{} cargo test -p tidelog-log many_lives", seed + 1)
        });
        batches += report.batches;
        crashes += report.crashes;
        taken_back += report.taken_back;
    }
    // The lives must be hard enough to prove something.
    let lives = seeds.end - seeds.start;
    let enough = batches as u64 > 50 * lives && crashes as u64 > 3 * lives && (lives < 100 || taken_back > 100);
    assert!(enough, "{lives} lives: {batches} batches, {crashes} crashes, {taken_back} batches taken back");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in [1, 77, 1_000_003] {
        assert_eq!(sim::run(seed), sim::run(seed));
    }
}
