//! Damage on the disk is found by looking, whoever reads or does not.

use std::os::unix::fs::FileExt;

use super::*;

#[tokio::test]
async fn damaged_batches_of_closed_segments_are_found() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[("internal.segment.bytes", "16384")]).await;
    fixture.create("whole", 1, &[("internal.segment.bytes", "16384")]).await;
    let value = "x".repeat(5_000);
    for _ in 0..9 {
        fixture.produce("events", &[&value], Acks::All).await.unwrap();
        fixture.produce("whole", &[&value], Acks::All).await.unwrap();
    }
    assert_eq!(fixture.broker.scrub(u64::MAX).await, 0);
    // The second batch of the first segment, and the first of the second.
    for (base, at) in [(0, 7_000), (3, 1_000)] {
        let path = fixture.directory.path().join(format!("data/events-0/{base:020}.log"));
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"damage", at).unwrap();
    }
    assert_eq!(fixture.broker.scrub(u64::MAX).await, 2);
    // It is slow where it shall be: two closed segments of each topic.
    let began = std::time::Instant::now();
    assert_eq!(fixture.broker.scrub(600_000).await, 2);
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
}
