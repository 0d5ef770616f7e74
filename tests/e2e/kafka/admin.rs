//! Topics by Kafka's admin client.

use tidelog_harness::kafka::{PATIENCE, Producer, config, read_all};
use tidelog_harness::protocol::messages::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use tidelog_harness::rdkafka::client::DefaultClientContext;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::RDKafkaErrorCode;
use tidelog_harness::rdkafka::message::Message;
use tidelog_harness::tokio;
use tidelog_harness::{Server, wait_until};

use crate::server;

fn admin(server: &Server) -> AdminClient<DefaultClientContext> {
    config(server.kafka(), &[]).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

async fn value(admin: &AdminClient<DefaultClientContext>, key: &str) -> (Option<String>, ConfigSource) {
    let topic = [ResourceSpecifier::Topic("t")];
    let mut described = admin.describe_configs(&topic, &options()).await.unwrap().remove(0).unwrap();
    let at = described.entries.iter().position(|entry| entry.name == key).unwrap();
    let entry = described.entries.remove(at);
    (entry.value, entry.source)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_from_creation_to_deletion() {
    let server = server();
    let admin = admin(&server);
    let topic = NewTopic::new("t", 3, TopicReplication::Fixed(1)).set("retention.ms", "1234567");
    assert_eq!(admin.create_topics([&topic], &options()).await.unwrap(), [Ok("t".to_owned())]);
    let exists = ("t".to_owned(), RDKafkaErrorCode::TopicAlreadyExists);
    assert_eq!(admin.create_topics([&topic], &options()).await.unwrap(), [Err(exists)]);
    let bad = NewTopic::new("no/slash", 1, TopicReplication::Fixed(1));
    let refused = ("no/slash".to_owned(), RDKafkaErrorCode::InvalidTopic);
    assert_eq!(admin.create_topics([&bad], &options()).await.unwrap(), [Err(refused)]);

    assert_eq!(value(&admin, "retention.ms").await, (Some("1234567".into()), ConfigSource::DynamicTopic));
    assert_eq!(value(&admin, "cleanup.policy").await, (Some("delete".into()), ConfigSource::Default));
    let entry = AlterableConfig { name: "retention.ms".into(), value: Some("7654321".into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![entry],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = Raw::connect(server.kafka()).call(1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
    assert_eq!(value(&admin, "retention.ms").await.0.as_deref(), Some("7654321"));

    let more = NewPartitions::new("t", 5);
    assert_eq!(admin.create_partitions([&more], &options()).await.unwrap(), [Ok("t".to_owned())]);
    let fewer = NewPartitions::new("t", 2);
    let refused = ("t".to_owned(), RDKafkaErrorCode::InvalidPartitions);
    assert_eq!(admin.create_partitions([&fewer], &options()).await.unwrap(), [Err(refused)]);
    let producer = Producer::new(server.kafka(), &[]);
    producer.send_value("t", 4, b"in a new partition");
    producer.finish_well();
    assert_eq!(read_all(server.kafka(), "t", &[4])[&4][0].payload(), Some(&b"in a new partition"[..]));

    assert_eq!(admin.delete_topics(&["t"], &options()).await.unwrap(), [Ok("t".to_owned())]);
    let unknown = ("t".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition);
    assert_eq!(admin.delete_topics(&["t"], &options()).await.unwrap(), [Err(unknown)]);
    let consumer: BaseConsumer = config(server.kafka(), &[("allow.auto.create.topics", "false")]).create().unwrap();
    let names = || {
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>()
    };
    assert!(!names().contains(&"t".to_owned()), "{:?}", names());
    // Its records go too, and a topic of the same name starts anew.
    let gone = || !server.data_dir().join("t-4").exists();
    wait_until(gone, PATIENCE, "the partition's folder is removed");
    assert_eq!(admin.create_topics([&topic], &options()).await.unwrap(), [Ok("t".to_owned())]);
    assert_eq!(read_all(server.kafka(), "t", &[0])[&0].len(), 0);
}
