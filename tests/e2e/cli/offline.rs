//! A partition whose log cannot be opened: what readers hear of it, and how soon.

use std::time::{Duration, Instant};

use tidelog_harness::serde_json::Value;
use tidelog_harness::{Server, http, tokio, wait_until};

use super::{QUICK, server};

/// Partition 1 of `t` lost its folder while the server was away.
fn with_one_offline() -> Server {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"a\n").expect(0);
    }
    server.stop();
    std::fs::rename(server.data_dir().join("t-1"), server.data_dir().parent().unwrap().join("aside")).unwrap();
    server.spawn();
    wait_until(|| server.log().contains("the partition stays offline"), QUICK, "it is known to be offline");
    wait_until(|| server.run(&["topic", "list"]).code == Some(0), QUICK, "others are served");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_a_partition_that_is_offline_hears_so_at_once() {
    let server = with_one_offline();
    let described = server.run(&["topic", "describe", "t", "--output", "json"]).expect(0).json();
    let (led, offline) = (&described["partitions"][0], &described["partitions"][1]);
    assert!(led["leader"] == 1 && led["end_offset"] == 1, "{described}");
    assert!(offline["leader"] == -1 && offline["end_offset"] == Value::Null, "{described}");
    let people = server.run(&["topic", "describe", "t"]).expect(0).stdout;
    assert!(people.lines().any(|line| line.split_whitespace().take(2).eq(["1", "none"])), "{people}");

    let begun = Instant::now();
    let told = server.run(&["consume", "t", "--timeout", "2s"]).expect(1);
    assert!(begun.elapsed() < Duration::from_secs(20), "it gives up when it was told to");
    for part in ["within 2s", "partition t-1: it has no leader", "the server's log says why"] {
        assert!(told.stderr.contains(part), "{part}: {told:?}");
    }
    assert_eq!(server.run(&["consume", "t", "-p", "0"]).expect(0).stdout, "a\n", "the others go on");

    let url = server.url("/v1/topics/t/events?partition=1&from=0&limit=1");
    let answer = http().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let told = answer.text().await.unwrap();
    assert!(told.contains("partition t-1 is offline: its log cannot be opened"), "{told}");
}
