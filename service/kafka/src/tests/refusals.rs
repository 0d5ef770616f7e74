//! What the door refuses because of what a request says, with Kafka's codes.

use tidelog_protocol::Records;
use tidelog_protocol::messages::*;
use tidelog_record::Codec;

use super::*;

/// A batch of one record, compressed.
fn compressed(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO).codec(codec);
    builder.push(Timestamp(1), None, Some(&[b'x'; 100]), &[]).unwrap();
    builder.build().unwrap().into_bytes()
}

/// The codes of an append of each of these batches to the partition of its place.
async fn appended(stream: &mut TcpStream, version: i16, topic: &str, batches: &[Bytes]) -> Vec<i16> {
    let data = |(batch, index): (&Bytes, i32)| PartitionProduceData {
        index,
        records: Some(Records::Bytes(batch.clone())),
        ..Default::default()
    };
    let partition_data = batches.iter().zip(0..).map(data).collect();
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() };
    let answer = call(stream, version, &request).await;
    answer.responses[0].partition_responses.iter().map(|one| one.error_code).collect()
}

#[tokio::test]
async fn zstd_is_for_clients_that_know_it() {
    let fixture = Fixture::start(&[("num.partitions", "3")]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let batches = [compressed(Codec::Gzip), compressed(Codec::Zstd), compressed(Codec::Lz4)];
    let refused = KafkaError::UnsupportedCompressionType.code();
    for version in 3..=6 {
        assert_eq!(appended(&mut stream, version, "t", &batches).await, [0, refused, 0], "version {version}");
    }
    assert_eq!(appended(&mut stream, 7, "t", &batches).await, [0, 0, 0]);
    assert_eq!(appended(&mut stream, 6, "t", &batches[1..2]).await, [refused], "alone, too");
}

fn assigned(name: &str, partitions: &[i32]) -> CreatableTopic {
    let one =
        |index: &i32| CreatableReplicaAssignment { partition_index: *index, broker_ids: vec![1], ..Default::default() };
    let assignments = partitions.iter().map(one).collect();
    CreatableTopic { name: name.into(), num_partitions: -1, replication_factor: -1, assignments, ..Default::default() }
}

fn sized(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() }
}

async fn created(stream: &mut TcpStream, topics: Vec<CreatableTopic>) -> Vec<i16> {
    let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    call(stream, 7, &request).await.topics.iter().map(|one| one.error_code).collect()
}

#[tokio::test]
async fn a_partition_assigned_twice_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let invalid = KafkaError::InvalidReplicaAssignment.code();
    for (partitions, code) in
        [(&[0, 1][..], 0), (&[1, 0], 0), (&[0, 0], invalid), (&[0, 1, 1], invalid), (&[1], invalid)]
    {
        assert_eq!(created(&mut stream, vec![assigned("t", partitions)]).await, [code], "{partitions:?}");
    }
}

#[tokio::test]
async fn one_request_creates_ten_thousand_partitions_at_most() {
    let fixture = Fixture::start(&[]).await;
    for topic in ["x", "y"] {
        fixture.create(topic).await;
    }
    let mut stream = fixture.connect().await;
    let refused = KafkaError::PolicyViolation.code();
    assert_eq!(created(&mut stream, vec![sized("a", 5_000), sized("b", 5_000)]).await, [0, 0]);
    assert_eq!(created(&mut stream, vec![sized("a", 5_000), sized("b", 5_001)]).await, [refused; 2]);
    assert_eq!(created(&mut stream, vec![sized("a", 10_000), assigned("b", &[0])]).await, [refused; 2]);
    assert_eq!(created(&mut stream, vec![sized("a", 10_001)]).await, [refused]);
    for (count, code) in [(5_001, 0), (5_002, refused)] {
        let topic =
            |name: &str| CreatePartitionsTopic { name: name.into(), count, assignments: None, ..Default::default() };
        let topics = vec![topic("x"), topic("y")];
        let request = CreatePartitionsRequest { topics, validate_only: true, ..Default::default() };
        let answer = call(&mut stream, 3, &request).await;
        assert_eq!(answer.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [code; 2]);
    }
}

#[tokio::test]
async fn a_topic_that_no_name_can_have_is_unknown() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let unknown = KafkaError::UnknownTopicOrPartition.code();
    assert_eq!(appended(&mut stream, 12, "a/b", &[compressed(Codec::None)]).await, [unknown]);
    let mut request = fetch(12, TopicId::ZERO, &[0]);
    request.topics[0].topic = "a/b".into();
    assert_eq!(call(&mut stream, 12, &request).await.responses[0].partitions[0].error_code, unknown);
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: "a/b".into(), partitions, ..Default::default() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    assert_eq!(call(&mut stream, 5, &request).await.topics[0].partitions[0].error_code, unknown);
    let request = DeleteTopicsRequest { topic_names: vec!["a/b".into()], ..Default::default() };
    assert_eq!(call(&mut stream, 5, &request).await.responses[0].error_code, unknown);
    let topics = vec![CreatePartitionsTopic { name: "a/b".into(), count: 2, assignments: None, ..Default::default() }];
    let request = CreatePartitionsRequest { topics, ..Default::default() };
    assert_eq!(call(&mut stream, 3, &request).await.results[0].error_code, unknown);
    // Who creates one hears what is wrong with it.
    assert_eq!(created(&mut stream, vec![sized("a/b", 1)]).await, [KafkaError::InvalidTopicException.code()]);
}

#[tokio::test]
async fn nobody_follows_a_node_that_is_alone() {
    let fixture = Fixture::start(&[]).await;
    let topic_id = fixture.create("events").await;
    fixture.produce(0).await;
    let mut stream = fixture.connect().await;
    let as_broker = |version: i16, replica_id: i32, epoch: i32| {
        let mut request = fetch(version, topic_id, &[0]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        if version < 15 {
            request.replica_id = replica_id;
        } else {
            request.replica_state.replica_id = replica_id;
        }
        request
    };
    for version in [12, 16] {
        for (replica_id, epoch, error) in [
            (-1, -1, None),
            (1, -1, Some(KafkaError::NotLeaderOrFollower)),
            (2, 0, Some(KafkaError::UnknownLeaderEpoch)),
            (2, 7, Some(KafkaError::UnknownLeaderEpoch)),
        ] {
            let answer = call(&mut stream, version, &as_broker(version, replica_id, epoch)).await;
            let part = &answer.responses[0].partitions[0];
            let code = error.map_or(0, |error| error.code());
            assert_eq!(part.error_code, code, "version {version}, replica {replica_id}, epoch {epoch}");
        }
    }
    // Not even that is for everybody.
    let acls = tidelog_security::AclDefaults { super_users: Default::default(), allow_everyone: true };
    let fixture = Fixture::start_with(&[], ListenerSecurity::default(), Some(acls)).await;
    fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let answer = call(&mut stream, 12, &as_broker(12, 2, 0)).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, KafkaError::UnknownLeaderEpoch.code());
    let acls = tidelog_security::AclDefaults { super_users: Default::default(), allow_everyone: false };
    let fixture = Fixture::start_with(&[], ListenerSecurity::default(), Some(acls)).await;
    fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let answer = call(&mut stream, 12, &as_broker(12, 2, 0)).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, KafkaError::TopicAuthorizationFailed.code());
}

/// Kafka writes the last of them and says nothing of the others.
#[tokio::test]
async fn a_partition_that_produce_names_twice_gets_nothing_and_the_others_do() {
    let fixture = Fixture::start(&[("num.partitions", "2")]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let data = |index| PartitionProduceData {
        index,
        records: Some(Records::Bytes(compressed(Codec::None))),
        ..Default::default()
    };
    let topic = |indexes: &[i32]| TopicProduceData {
        name: "t".into(),
        partition_data: indexes.iter().map(|index| data(*index)).collect(),
        ..Default::default()
    };
    let invalid = KafkaError::InvalidRequest.code();
    for (topics, expected) in [
        (vec![topic(&[0, 1, 0])], vec![(0, invalid, -1), (1, 0, 0)]),
        (vec![topic(&[1, 0]), topic(&[0])], vec![(1, 0, 1), (0, invalid, -1)]),
        (vec![topic(&[0])], vec![(0, 0, 0)]),
    ] {
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: topics, ..Default::default() };
        let answer = call(&mut stream, 11, &request).await;
        let found = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        let found: Vec<_> = found.map(|one| (one.index, one.error_code, one.base_offset)).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_sync_says_what_protocol_it_believes_in_from_version_5_on() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(call(&mut stream, 6, &find).await.coordinators[0].error_code, 0);
    let sync = |group: &str, kind: Option<&str>, name: Option<&str>| SyncGroupRequest {
        group_id: group.into(),
        generation_id: 1,
        member_id: "m".into(),
        protocol_type: kind.map(Into::into),
        protocol_name: name.map(Into::into),
        ..Default::default()
    };
    let inconsistent = KafkaError::InconsistentGroupProtocol.code();
    for (kind, name) in [(None, None), (Some("consumer"), None), (None, Some("range"))] {
        for group in ["g", ""] {
            assert_eq!(call(&mut stream, 5, &sync(group, kind, name)).await.error_code, inconsistent);
        }
    }
    for (version, request) in [(4, sync("g", None, None)), (5, sync("g", Some("consumer"), Some("range")))] {
        let mut code = KafkaError::CoordinatorLoadInProgress.code();
        while code == KafkaError::CoordinatorLoadInProgress.code() {
            code = call(&mut stream, version, &request).await.error_code;
        }
        assert_eq!(code, KafkaError::UnknownMemberId.code(), "version {version}");
    }
}
