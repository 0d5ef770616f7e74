//! Quotas on the wire: what is set, how long clients are told to pause, and that they are not heard meanwhile.

use std::time::Instant;

use tidelog_model::Timestamp;
use tidelog_protocol::Records;
use tidelog_protocol::messages::*;
use tidelog_record::BatchBuilder;

use super::*;

fn part(kind: &str, name: Option<&str>) -> QuotaEntityPart {
    QuotaEntityPart { entity_type: kind.into(), entity_name: name.map(Str::from), ..Default::default() }
}

fn set(key: &str, value: f64) -> AlteredQuota {
    AlteredQuota { key: key.into(), value, remove: false, ..Default::default() }
}

fn entry(entity: Vec<QuotaEntityPart>, ops: Vec<AlteredQuota>) -> AlteredQuotas {
    AlteredQuotas { entity, ops, ..Default::default() }
}

async fn alter(stream: &mut TcpStream, entries: Vec<AlteredQuotas>, validate_only: bool) -> Vec<i16> {
    let request = AlterClientQuotasRequest { entries, validate_only, ..Default::default() };
    let answer = call(stream, 1, &request).await;
    answer.entries.iter().map(|entry| entry.error_code).collect()
}

/// The quota of the clients of these tests, whose id is `test`.
async fn limit(fixture: &Fixture, key: &str, value: f64) {
    let mut stream = fixture.connect().await;
    let entries = vec![entry(vec![part("client-id", Some("test"))], vec![set(key, value)])];
    assert_eq!(alter(&mut stream, entries, false).await, [0]);
}

async fn described(stream: &mut TcpStream, components: Vec<QuotaFilterComponent>, strict: bool) -> (i16, Vec<String>) {
    let request = DescribeClientQuotasRequest { components, strict, ..Default::default() };
    let answer = call(stream, 1, &request).await;
    let show = |quotas: &DescribedQuotas| {
        let parts =
            quotas.entity.iter().map(|p| format!("{}={}", p.entity_type, p.entity_name.as_deref().unwrap_or("*")));
        let values = quotas.values.iter().map(|value| format!("{}={}", value.key, value.value));
        parts.chain(values).collect::<Vec<_>>().join(" ")
    };
    (answer.error_code, answer.entries.unwrap_or_default().iter().map(show).collect())
}

#[tokio::test]
async fn quotas_are_set_described_and_removed() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let alice = || vec![part("user", Some("alice"))];
    let both = || vec![part("user", None), part("client-id", Some("c"))];
    let entries = || {
        vec![
            entry(alice(), vec![set("producer_byte_rate", 1024.0)]),
            entry(both(), vec![set("request_percentage", 12.5)]),
            entry(vec![part("ip", Some("10.0.0.1"))], vec![set("connection_creation_rate", 5.0)]),
        ]
    };
    assert_eq!(alter(&mut stream, entries(), true).await, [0; 3]);
    assert_eq!(described(&mut stream, vec![], false).await, (0, vec![]), "validate_only sets nothing");
    assert_eq!(alter(&mut stream, entries(), false).await, [0; 3]);
    let filter = |kind: &str, match_type, name: Option<&str>| QuotaFilterComponent {
        entity_type: kind.into(),
        match_type,
        match_name: name.map(Str::from),
        ..Default::default()
    };
    let (of_alice, of_both) = ("user=alice producer_byte_rate=1024", "user=* client-id=c request_percentage=12.5");
    let of_ip = "ip=10.0.0.1 connection_creation_rate=5";
    let mut all = described(&mut stream, vec![], false).await.1;
    all.sort();
    let mut expected = [of_alice, of_both, of_ip];
    expected.sort_unstable();
    assert_eq!(all, expected);
    for (components, strict, expected) in [
        (vec![filter("user", 0, Some("alice"))], true, vec![of_alice]),
        (vec![filter("user", 1, None)], false, vec![of_both]),
        (vec![filter("user", 1, None)], true, vec![]),
        (vec![filter("user", 2, None), filter("client-id", 2, None)], true, vec![of_both]),
        (vec![filter("ip", 2, None)], true, vec![of_ip]),
    ] {
        let found = described(&mut stream, components.clone(), strict).await;
        assert_eq!(found, (0, expected.into_iter().map(str::to_owned).collect()), "{components:?}");
    }
    let invalid = KafkaError::InvalidRequest.code();
    for bad in [
        vec![filter("user", 0, None)],
        vec![filter("user", 1, Some("a"))],
        vec![filter("user", 3, None)],
        vec![filter("user", 2, None), filter("user", 1, None)],
        vec![filter("user", 2, None), filter("ip", 2, None)],
    ] {
        assert_eq!(described(&mut stream, bad.clone(), false).await.0, invalid, "{bad:?}");
    }
    for unknown in ["colour", ""] {
        let code = described(&mut stream, vec![filter(unknown, 2, None)], false).await.0;
        assert_eq!(code, KafkaError::UnsupportedVersion.code(), "{unknown:?}");
    }
    let remove = AlteredQuota { key: "producer_byte_rate".into(), remove: true, ..Default::default() };
    assert_eq!(alter(&mut stream, vec![entry(alice(), vec![remove])], false).await, [0]);
    assert_eq!(described(&mut stream, vec![filter("user", 0, Some("alice"))], false).await, (0, vec![]));
}

#[tokio::test]
async fn an_entity_that_is_refused_leaves_the_others() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let rate = || vec![set("producer_byte_rate", 10.0)];
    let entries = vec![
        entry(vec![part("user", Some("good"))], rate()),
        entry(vec![], rate()),
        entry(vec![part("group", Some("g"))], rate()),
        entry(vec![part("user", Some(""))], rate()),
        entry(vec![part("user", Some("a"))], vec![set("producer_byte_rate", 0.5)]),
        entry(vec![part("user", Some("b"))], vec![set("no_such_rate", 1.0)]),
        entry(vec![part("user", Some("twice"))], rate()),
        entry(vec![part("user", Some("twice"))], rate()),
        entry(vec![part("ip", Some("10.0.0.1"))], rate()),
    ];
    let invalid = KafkaError::InvalidRequest.code();
    let mut expected = vec![invalid; 9];
    expected[0] = 0;
    assert_eq!(alter(&mut stream, entries, false).await, expected);
    assert_eq!(described(&mut stream, vec![], false).await.1, ["user=good producer_byte_rate=10"]);
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(Timestamp(1), None, Some(&vec![b'x'; bytes]), &[]).unwrap();
    builder.build().unwrap().into_bytes()
}

async fn produce(stream: &mut TcpStream, batch: &Bytes) -> i32 {
    let partition = PartitionProduceData { records: Some(Records::Bytes(batch.clone())), ..Default::default() };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let answer = call(stream, 9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
    answer.throttle_time_ms
}

#[tokio::test]
async fn a_producer_beyond_its_quota_is_told_to_pause_and_not_heard_meanwhile() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let batch = batch(10_000);
    let mut stream = fixture.connect().await;
    assert_eq!(produce(&mut stream, &batch).await, 0, "no quota, no pause");
    // Eleven and a half seconds' worth, of which ten to eleven are free.
    limit(&fixture, "producer_byte_rate", (batch.len() as f64 / 11.5).round()).await;
    // The pause begins before its answer comes.
    let began = Instant::now();
    let pause = produce(&mut stream, &batch).await;
    assert!((400..=1_600).contains(&pause), "{pause} ms");
    call(&mut stream, 1, &MetadataRequest::default()).await;
    let heard = began.elapsed();
    assert!(heard >= Duration::from_millis(u64::try_from(pause).unwrap()), "heard after {heard:?} of {pause} ms");
}

#[tokio::test]
async fn a_consumer_beyond_its_quota_gets_an_empty_answer() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let batch = batch(10_000);
    let mut stream = fixture.connect().await;
    produce(&mut stream, &batch).await;
    let mut fetch = async || {
        let partition = FetchPartition { partition_max_bytes: 1_000_000, ..Default::default() };
        let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { min_bytes: 1, max_bytes: 1_000_000, topics: vec![topic], ..Default::default() };
        let answer = call(&mut stream, 11, &request).await;
        let records = answer.responses.first().and_then(|topic| topic.partitions[0].records.clone());
        (answer.error_code, answer.throttle_time_ms, records.map_or(0, |records| records.bytes().unwrap().len()))
    };
    assert_eq!(fetch().await, (0, 0, batch.len()));
    // A third fetch is half a second's worth too much, in any fraction of a second.
    limit(&fixture, "consumer_byte_rate", (batch.len() as f64 * 3.0 / 11.5).round()).await;
    for _ in 0..2 {
        assert_eq!(fetch().await, (0, 0, batch.len()));
    }
    let (error, pause, bytes) = fetch().await;
    assert_eq!((error, bytes), (0, 0));
    assert!((400..=1_600).contains(&pause), "{pause} ms");
}

#[tokio::test]
async fn a_quota_below_one_batch_starves_nobody() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let batch = batch(10_000);
    let mut stream = fixture.connect().await;
    produce(&mut stream, &batch).await;
    limit(&fixture, "consumer_byte_rate", 1.0).await;
    let partition = FetchPartition { partition_max_bytes: 1_000_000, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { min_bytes: 1, max_bytes: 1_000_000, topics: vec![topic], ..Default::default() };
    let answer = call(&mut stream, 11, &request).await;
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(records.bytes().unwrap().len(), batch.len());
}

#[tokio::test]
async fn time_that_requests_take_is_a_quota_too() {
    let fixture = Fixture::start(&[]).await;
    limit(&fixture, "request_percentage", 0.000_01).await;
    let mut stream = fixture.connect().await;
    let pause = call(&mut stream, 8, &MetadataRequest::default()).await.throttle_time_ms;
    assert!((1..=1_000).contains(&pause), "{pause} ms: at most one window");
    assert_eq!(call(&mut stream, 2, &MetadataRequest::default()).await.throttle_time_ms, 0, "no place in version 2");
}

#[tokio::test]
async fn mutations_beyond_the_quota_are_refused_where_the_version_knows_it() {
    let fixture = Fixture::start(&[]).await;
    limit(&fixture, "controller_mutation_rate", 1.0).await;
    let mut stream = fixture.connect().await;
    let topic = |name: &str, num_partitions| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let create = |topics: Vec<CreatableTopic>| CreateTopicsRequest { topics, ..Default::default() };
    // Eleven may be made at once; what goes beyond is owed, and refills by one a second.
    let answer = call(&mut stream, 6, &create(vec![topic("a", 0), topic("b", 20), topic("c", 1)])).await;
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    let exceeded = KafkaError::ThrottlingQuotaExceeded.code();
    assert_eq!(codes, [KafkaError::InvalidPartitions.code(), 0, exceeded]);
    assert!(answer.throttle_time_ms > 0, "{answer:?}");

    let mut other = fixture.connect().await;
    let answer = call(&mut other, 5, &create(vec![topic("d", 10)])).await;
    assert_eq!(answer.topics[0].error_code, 0, "version 5 knows no such error");
    assert!(answer.throttle_time_ms > 0, "{answer:?}");

    let mut third = fixture.connect().await;
    let more = CreatePartitionsTopic { name: "d".into(), count: 11, assignments: None, ..Default::default() };
    let request = CreatePartitionsRequest { topics: vec![more], ..Default::default() };
    assert_eq!(call(&mut third, 3, &request).await.results[0].error_code, exceeded);
    let by_name = DeleteTopicState { name: Some("d".into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![by_name], ..Default::default() };
    let mut fourth = fixture.connect().await;
    assert_eq!(call(&mut fourth, 6, &request).await.responses[0].error_code, exceeded);
}

#[tokio::test]
async fn an_address_with_too_many_connections_gets_no_more() {
    let fixture = Fixture::start(&[("max.connections.per.ip", "2")]).await;
    let mut first = fixture.connect().await;
    let mut second = fixture.connect().await;
    for stream in [&mut first, &mut second] {
        call(stream, 1, &MetadataRequest::default()).await;
    }
    let mut third = fixture.connect().await;
    assert_closed(&mut third, "max.connections.per.ip").await;
    drop(first);
    // Its place is free once the server has noticed.
    let again = async {
        loop {
            let mut stream = fixture.connect().await;
            let frame = request_frame(1, 7, None, &MetadataRequest::default()).unwrap().into_bytes().unwrap();
            if stream.write_all(&frame).await.is_ok() && stream.read_u32().await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("a place is free again");
}

#[tokio::test]
async fn beyond_max_connections_newcomers_wait() {
    let fixture = Fixture::start(&[("max.connections", "1")]).await;
    let mut first = fixture.connect().await;
    call(&mut first, 1, &MetadataRequest::default()).await;
    let mut second = fixture.connect().await;
    let frame = request_frame(1, 7, None, &MetadataRequest::default()).unwrap().into_bytes().unwrap();
    second.write_all(&frame).await.unwrap();
    call(&mut first, 1, &MetadataRequest::default()).await;
    let mut byte = [0];
    let early = second.try_read(&mut byte);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert!(timeout(PATIENCE, second.read_u32()).await.expect("its turn comes").unwrap() > 0);
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_closed() {
    let fixture = Fixture::start(&[]).await;
    let mut admin = fixture.connect().await;
    let entries = vec![entry(vec![part("ip", Some("127.0.0.1"))], vec![set("connection_creation_rate", 1.0)])];
    assert_eq!(alter(&mut admin, entries, false).await, [0]);
    // Ten are a full average of one per second.
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = fixture.connect().await;
        call(&mut stream, 1, &MetadataRequest::default()).await;
        streams.push(stream);
    }
    // The eleventh may just pass at the end of a second, two more do not.
    for _ in 0..3 {
        streams.push(fixture.connect().await);
    }
    let mut last = streams.pop().unwrap();
    assert_closed(&mut last, "connection_creation_rate").await;
    call(&mut admin, 1, &MetadataRequest::default()).await;
}

#[tokio::test]
async fn connections_beyond_a_quota_hold_no_place() {
    let fixture = Fixture::start(&[("max.connections", "2")]).await;
    let mut admin = fixture.connect().await;
    let entries = vec![entry(vec![part("ip", Some("127.0.0.2"))], vec![set("connection_creation_rate", 1.0)])];
    assert_eq!(alter(&mut admin, entries, false).await, [0]);
    let limited = async || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(fixture.address).await.unwrap()
    };
    let request = MetadataRequest::default();
    for _ in 0..10 {
        call(&mut limited().await, 1, &request).await;
    }
    // One more is held until its second is over, which may be at once: some of them is still held when somebody else is served.
    let served_meanwhile = async {
        loop {
            let held = limited().await;
            let mut other = fixture.connect().await;
            // The held one has the place if it was within the quota after all: then it must go first.
            let served = timeout(Duration::from_secs(2), call(&mut other, 1, &request)).await.is_ok();
            let open = held.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            if served && open {
                return;
            }
        }
    };
    timeout(PATIENCE, served_meanwhile).await.expect("others are served while a connection is held");
}
