//! What each setting of the broker bounds that no other test looks at, on a broker that runs, seen by a client.

use tidelog_protocol::messages::*;

use super::*;

/// Asks until the coordinator has loaded.
async fn loaded<R: Request>(
    stream: &mut TcpStream,
    version: i16,
    request: &R,
    error: impl Fn(&R::Response) -> i16,
) -> R::Response {
    let answer = async {
        loop {
            let answer = call(stream, version, request).await;
            if error(&answer) != KafkaError::CoordinatorLoadInProgress.code() {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, answer).await.expect("the coordinator loads")
}

/// Creates the coordinators' topic.
async fn coordinator(stream: &mut TcpStream, key_type: i8) {
    let find = FindCoordinatorRequest { key_type, coordinator_keys: vec!["x".into()], ..Default::default() };
    assert_eq!(call(stream, 6, &find).await.coordinators[0].error_code, 0);
}

fn join(session_timeout_ms: i32, rebalance_timeout_ms: i32) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
    JoinGroupRequest {
        group_id: "x".into(),
        session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

async fn group_max_size() {
    let fixture = Fixture::start(&[("group.max.size", "1")]).await;
    let (mut first, mut second) = (fixture.connect().await, fixture.connect().await);
    coordinator(&mut first, 0).await;
    // Version 3 needs no second request for a member id.
    let joined = loaded(&mut first, 3, &join(10_000, 10_000), |answer| answer.error_code).await;
    assert_eq!(joined.error_code, 0);
    assert_eq!(call(&mut second, 3, &join(10_000, 10_000)).await.error_code, KafkaError::GroupMaxSizeReached.code());
}

async fn group_consumer_max_size() {
    let fixture = Fixture::start(&[("group.consumer.max.size", "1")]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 0).await;
    let member = |name: &str| ConsumerGroupHeartbeatRequest {
        group_id: "x".into(),
        member_id: name.into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    assert_eq!(loaded(&mut stream, 1, &member("a"), |answer| answer.error_code).await.error_code, 0);
    let refused = call(&mut stream, 1, &member("b")).await.error_code;
    assert_eq!(refused, KafkaError::GroupMaxSizeReached.code());
}

async fn group_session_timeouts() {
    let settings = [("group.min.session.timeout.ms", "7000"), ("group.max.session.timeout.ms", "9000")];
    let fixture = Fixture::start(&settings).await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 0).await;
    let refused = KafkaError::InvalidSessionTimeout.code();
    for (asked, code) in [(9_001, refused), (6_999, refused), (9_000, 0)] {
        assert_eq!(
            loaded(&mut stream, 3, &join(asked, 9_000), |answer| answer.error_code).await.error_code,
            code,
            "{asked}"
        );
    }
}

async fn offset_metadata_max_bytes() {
    let fixture = Fixture::start(&[("offset.metadata.max.bytes", "3")]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 0).await;
    let commit = |metadata: &str| {
        let partition = OffsetCommitRequestPartition {
            committed_offset: 1,
            committed_metadata: Some(metadata.into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        OffsetCommitRequest { group_id: "x".into(), topics: vec![topic], ..Default::default() }
    };
    let code = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
    assert_eq!(code(&loaded(&mut stream, 8, &commit("123"), code).await), 0);
    assert_eq!(code(&call(&mut stream, 8, &commit("1234")).await), KafkaError::OffsetMetadataTooLarge.code());
}

fn init(transactional_id: &str, transaction_timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(transactional_id.into()),
        transaction_timeout_ms,
        ..Default::default()
    }
}

async fn transaction_max_timeout() {
    let fixture = Fixture::start(&[("transaction.max.timeout.ms", "5000")]).await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 1).await;
    assert_eq!(loaded(&mut stream, 5, &init("x", 5_000), |answer| answer.error_code).await.error_code, 0);
    let refused = call(&mut stream, 5, &init("x", 5_001)).await.error_code;
    assert_eq!(refused, KafkaError::InvalidTransactionTimeout.code());
}

async fn transactional_id_expiration() {
    let settings =
        [("transactional.id.expiration.ms", "1"), ("transaction.remove.expired.transaction.cleanup.interval.ms", "20")];
    let fixture = Fixture::start(&settings).await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 1).await;
    assert_eq!(loaded(&mut stream, 5, &init("x", 5_000), |answer| answer.error_code).await.error_code, 0);
    let forgotten = async {
        while !call(&mut stream, 2, &ListTransactionsRequest::default()).await.transaction_states.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("the id is forgotten");
}

async fn transaction_topic() {
    let settings = [("transaction.state.log.segment.bytes", "2000000"), ("transaction.state.log.num.partitions", "3")];
    let fixture = Fixture::start(&settings).await;
    let mut stream = fixture.connect().await;
    coordinator(&mut stream, 1).await;
    let caller = Caller::internal("test");
    let topic = TopicRef::from("__transaction_state");
    assert_eq!(fixture.broker.topic(&caller, &topic).unwrap().partitions.len(), 3);
    let configs = fixture.broker.topic_configs(&caller, &topic).unwrap();
    let segment = configs.iter().find(|one| one.name == "segment.bytes").unwrap();
    assert_eq!(segment.value.as_deref(), Some("2000000"));
}

async fn default_replication_factor() {
    let fixture = Fixture::start(&[("default.replication.factor", "2")]).await;
    let mut stream = fixture.connect().await;
    let topic = CreatableTopic { name: "t".into(), num_partitions: -1, replication_factor: -1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let refused = call(&mut stream, 7, &request).await.topics[0].error_code;
    assert_eq!(refused, KafkaError::InvalidReplicationFactor.code(), "there is one node");
}

/// A setting changed while the broker runs.
async fn producer_id_expiration() {
    let fixture = Fixture::start(&[("log.retention.check.interval.ms", "20")]).await;
    fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let mut builder = BatchBuilder::new(Offset::ZERO).producer(
        tidelog_model::ProducerId(7),
        tidelog_model::ProducerEpoch(0),
        tidelog_model::Sequence(0),
    );
    builder.push(Timestamp(1), None, Some(b"x"), &[]).unwrap();
    let request = AppendRequest {
        topic: TopicRef::from("events"),
        partition: PartitionIndex(0),
        batch: builder.build().unwrap().into_bytes(),
        acks: Acks::All,
        timeout: PATIENCE,
        keep: None,
    };
    fixture.broker.append(&Caller::internal("test"), request).await.unwrap();
    let topic = DescribeProducersTopic { name: "events".into(), partition_indexes: vec![0], ..Default::default() };
    let describe = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    let known = |answer: DescribeProducersResponse| answer.topics[0].partitions[0].active_producers.len();
    assert_eq!(known(call(&mut stream, 0, &describe).await), 1);
    let change =
        AlterableConfig { name: "producer.id.expiration.ms".into(), value: Some("1".into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: vec![change],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(call(&mut stream, 1, &request).await.responses[0].error_code, 0);
    let forgotten = async {
        while known(call(&mut stream, 0, &describe).await) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("the producer is forgotten");
}

async fn delegation_token_times() {
    let settings = [
        ("delegation.token.secret.key", "a key that is long enough for it"),
        ("delegation.token.expiry.time.ms", "60000"),
        ("delegation.token.max.lifetime.ms", "90000"),
    ];
    let fixture = super::sasl::fixture_with(&settings, Duration::ZERO).await;
    let mut alice = fixture.connect().await;
    assert_eq!(super::sasl::plain(&mut alice, "alice", "pencil").await.error_code, 0);
    let request = CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() };
    let token = call(&mut alice, 3, &request).await;
    assert_eq!(token.error_code, 0);
    assert_eq!(token.expiry_timestamp_ms - token.issue_timestamp_ms, 60_000);
    assert_eq!(token.max_timestamp_ms - token.issue_timestamp_ms, 90_000);
}

#[tokio::test]
async fn each_setting_that_bounds_clients_does() {
    group_max_size().await;
    group_consumer_max_size().await;
    group_session_timeouts().await;
    offset_metadata_max_bytes().await;
    transaction_max_timeout().await;
    transactional_id_expiration().await;
    transaction_topic().await;
    default_replication_factor().await;
    producer_id_expiration().await;
    delegation_token_times().await;
}
