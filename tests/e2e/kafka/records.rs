//! Records deleted by Kafka's admin client, and sessions of Kafka's consumer.

use tidelog_harness::kafka::{PATIENCE, Producer, config, read_all, texts};
use tidelog_harness::rdkafka::admin::{AdminClient, AdminOptions};
use tidelog_harness::rdkafka::client::DefaultClientContext;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelog_harness::rdkafka::{Offset, TopicPartitionList};
use tidelog_harness::tokio;

use crate::{create, server};

/// Deletes below these offsets; what each partition begins with, or its error.
async fn delete(server: &tidelog_harness::Server, offsets: &[(i32, Offset)]) -> Vec<Result<i64, RDKafkaErrorCode>> {
    let admin: AdminClient<DefaultClientContext> = config(server.kafka(), &[]).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset("kept", *partition, *offset).unwrap();
    }
    let deleted = admin.delete_records(&list, &options).await.unwrap();
    let mut results: Vec<_> = deleted
        .elements()
        .iter()
        .map(|element| {
            let result = match (element.error(), element.offset()) {
                (Err(KafkaError::OffsetFetch(code)), _) => Err(code),
                (Err(error), _) => panic!("{error}"),
                (Ok(()), Offset::Offset(start)) => Ok(start),
                (Ok(()), other) => panic!("{other:?}"),
            };
            (element.partition(), result)
        })
        .collect();
    results.sort_by_key(|(partition, _)| *partition);
    results.into_iter().map(|(_, result)| result).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_stay_deleted_after_a_kill() {
    let mut server = server();
    create(&server, "kept", 3, &[]);
    let producer = Producer::new(server.kafka(), &[]);
    for partition in 0..3 {
        for n in 0..10 {
            producer.send_value("kept", partition, format!("{partition}-{n}").as_bytes());
        }
    }
    producer.finish_well();
    let deleted = delete(&server, &[(0, Offset::Offset(4)), (1, Offset::End), (2, Offset::Offset(11))]).await;
    assert_eq!(deleted, [Ok(4), Ok(10), Err(RDKafkaErrorCode::OffsetOutOfRange)]);

    server.kill();
    server.start_again();
    let consumer: BaseConsumer = config(server.kafka(), &[]).create().unwrap();
    let starts = [0, 1, 2].map(|partition| consumer.fetch_watermarks("kept", partition, PATIENCE).unwrap());
    assert_eq!(starts, [(4, 10), (10, 10), (0, 10)]);
    let read = read_all(server.kafka(), "kept", &[0]);
    assert_eq!(texts(&read[&0]), (4..10).map(|n| format!("0-{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_deletes_is_in_the_table_first() {
    let server = server();
    create(&server, "kept", 1, &["tidelog.table.enable=true"]);
    let producer = Producer::new(server.kafka(), &[]);
    for n in 0..10 {
        producer.send_value("kept", 0, format!("{{\"n\":{n}}}").as_bytes());
    }
    producer.finish_well();
    // Long before the table's own minute is over.
    assert_eq!(delete(&server, &[(0, Offset::End)]).await, [Ok(10)]);
    let sums = server.run(&["query", "SELECT count(*) AS records, sum(n) AS total FROM kept", "--output", "json"]);
    let row = sums.expect(0).json()["rows"][0].clone();
    assert_eq!((row["records"].as_f64(), row["total"].as_f64()), (Some(10.0), Some(45.0)), "{row}");
}
