//! What was acknowledged is there after a stop and after a kill, also for clients that stay connected.

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, read_all, take, texts};
use tidelog_harness::protocol::messages::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::wait_for;

use crate::{create, server};

#[test]
fn records_survive_stops_and_kills_and_clients_come_back() {
    let mut server = server();
    create(&server, "kept", 2, &[]);
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true"), ("acks", "all")]);
    let follower = assigned(server.kafka(), "kept", &[0, 1], Offset::Beginning);
    let mut expected: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (round, kill) in [false, true, true, false].into_iter().enumerate() {
        for (partition, values) in (0i32..).zip(&mut expected) {
            for n in 0..100 {
                let value = format!("{round}-{partition}-{n}");
                producer.send_value("kept", partition, value.as_bytes());
                values.push(value);
            }
        }
        producer.finish_well();
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
        let read = read_all(server.kafka(), "kept", &[0, 1]);
        for (partition, values) in (0i32..).zip(&expected) {
            assert_eq!(&texts(&read[&partition]), values, "round {round}, partition {partition}");
        }
        // The consumer that was there all the time saw everything once.
        assert_eq!(take(&follower, 200, PATIENCE).len(), 200);
    }
    let log = server.log();
    assert_eq!(log.matches(" ERROR ").count(), 0, "{log}");
}

/// A start begins a new leader epoch. Who says that its last record, behind the end of the old one, is of the old one, hears where that
/// ended, again and again while it asks so.
#[test]
fn a_reader_of_more_than_the_old_epoch_had_hears_where_that_ended() {
    let mut server = server();
    create(&server, "t", 1, &[]);
    let producer = Producer::new(server.kafka(), &[]);
    let send = |values: &[&str]| {
        values.iter().for_each(|value| producer.send_value("t", 0, value.as_bytes()));
        producer.finish_well();
    };
    send(&["a", "b"]);
    server.stop();
    server.start_again();
    send(&["c"]);
    let mut raw = Raw::connect(server.kafka());
    let partition = FetchPartition { last_fetched_epoch: 0, partition_max_bytes: 1_000_000, ..Default::default() };
    let mut fetch = |offset, session_id, session_epoch| -> FetchResponse {
        let partitions = vec![FetchPartition { fetch_offset: offset, ..partition.clone() }];
        let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
        let request = FetchRequest {
            topics: if session_id == 0 { topics } else { Vec::new() },
            max_wait_ms: 60_000,
            min_bytes: 1,
            session_id,
            session_epoch,
            ..Default::default()
        };
        raw.call(12, &request)
    };
    let found = |answer: &FetchResponse| {
        let answer = &answer.responses[0].partitions[0];
        let read = answer.records.as_ref().is_some_and(|records| !records.is_empty());
        (answer.error_code, answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset, read)
    };
    let served = || Some(fetch(2, 0, -1)).filter(|answer| answer.responses[0].partitions[0].error_code == 0);
    assert_eq!(found(&wait_for(served, PATIENCE, "the partition is served")), (0, -1, -1, true));
    let first = fetch(3, 0, 0);
    assert_eq!(found(&first), (0, 0, 2, false));
    assert_eq!(found(&fetch(3, first.session_id, 1)), (0, 0, 2, false));
}
