//! Access rules at every use case, and users with passwords.

use tidelog_coordinator::group::{
    ConsumerBeat, ConsumerHeartbeat, Epoch, Generation, GroupId, GroupReply, MemberId, TopicPartitions,
};
use tidelog_coordinator::transaction::{ClientVersion, EndTransaction, Producer};
use tidelog_metadata::decide::AclFilter;
use tidelog_model::{
    AclBinding, AclOperation, Door, Operation, PatternType, Permission, Principal, ProducerEpoch, ProducerId,
    ResourceType, ScramMechanism,
};
use tidelog_security::AclDefaults;
use tidelog_security::scram::{fits_password, salted_password};

use std::net::IpAddr;

use super::*;
use crate::fair_places::{FairPlace, Sharer};
use crate::limits::EXPRESSIONS;

pub(super) fn alice() -> Caller {
    Caller {
        principal: Principal::user("alice"),
        host: [10, 0, 0, 1].into(),
        client_id: Arc::from("test"),
        door: Door::Kafka,
    }
}

pub(super) fn allow(resource: ResourceType, name: &str, operation: Operation) -> AclBinding {
    AclBinding {
        resource,
        pattern: PatternType::Literal,
        name: name.into(),
        principal: "User:alice".into(),
        host: "*".into(),
        operation: AclOperation::Only(operation),
        permission: Permission::Allow,
    }
}

pub(super) async fn with_acls() -> Fixture {
    with_acls_and(&[]).await
}

async fn with_acls_and(settings: &[(&str, &str)]) -> Fixture {
    let acls = Some(AclDefaults::default());
    Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.acls = acls;
        let base = [
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("group.consumer.assignment.interval.ms", "0"),
        ];
        let settings = base.into_iter().chain(settings.iter().copied());
        options.config = tidelog_metadata::BrokerConfig::new(settings).unwrap();
    })
    .await
}

/// What somebody hears who asks for the position of a group.
async fn fetched_offset(broker: &Broker, caller: &Caller) -> KafkaError {
    let topics = Some(vec![(TopicRef::from("t"), vec![PartitionIndex(0)])]);
    let request = OffsetsRequest { group: GroupId::from("g"), topics, member: None, require_stable: false };
    let offsets = broker.fetch_offsets(caller, request).await.await.map(|mut found| found.remove(0).committed);
    offsets.map_or_else(|error| error.error, |committed| committed.err().unwrap_or(KafkaError::None))
}

pub(super) fn of<T>(result: Result<T, BrokerError>) -> KafkaError {
    result.err().map_or(KafkaError::None, |error| error.error)
}

/// What somebody hears of transactions.
async fn hears_of_transactions(broker: &Broker, caller: &Caller) -> Vec<(&'static str, KafkaError)> {
    let producer = Producer { id: ProducerId(1), epoch: ProducerEpoch(0) };
    let partitions = || std::iter::once((Arc::from("t"), PartitionIndex(0)));
    let asked = |from_broker| PartitionsToAdd { id: "tx".into(), producer, from_broker };
    let end = EndTransaction { producer, commit: true, version: ClientVersion::V0, fresh: None };
    let commit = TransactionalCommitRequest {
        transaction: crate::Transaction { id: "tx".into(), support: TransactionSupport::Implicit },
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group: GroupId::from("g"),
        generation: Generation::NONE,
        member_id: MemberId::from(""),
        instance_id: None,
        offsets: vec![],
    };
    let added = broker.add_partitions_to_transaction(caller, asked(None), partitions()).await.await.unwrap().remove(0);
    let verify = asked(Some(TransactionCheck::Verify));
    let for_brokers = broker.add_partitions_to_transaction(caller, verify, partitions()).await.await;
    vec![
        ("transaction_coordinator", of(broker.transaction_coordinator(caller, "tx").await)),
        ("init_transactional_producer", of(broker.init_transactional_producer(caller, "tx", 1, None).await.await)),
        ("add_partitions_to_transaction", added.err().unwrap_or(KafkaError::None)),
        ("add_partitions_to_transaction (for a broker)", of(for_brokers)),
        ("add_offsets_to_transaction", of(broker.add_offsets_to_transaction(caller, "tx", producer, "g").await.await)),
        ("commit_offsets_in_transaction", of(broker.commit_offsets_in_transaction(caller, commit).await.map(drop))),
        ("end_transaction", of(broker.end_transaction(caller, "tx", end).await.await)),
        ("describe_transaction", of(broker.describe_transaction(caller, "tx").await)),
        ("write_markers_for", of(broker.write_markers_for(caller, std::iter::empty()).await)),
    ]
}

/// What alice hears of each use case: `NONE` or Kafka's name of the error.
pub(super) async fn hears(broker: &Broker) -> Vec<(&'static str, KafkaError)> {
    let (caller, topic) = (alice(), TopicRef::from("t"));
    let id = TopicRef::Id(broker.topic(&Caller::internal("test"), &topic).unwrap().id);
    let (uncommitted, none) = (Isolation::ReadUncommitted, LeaderEpoch::NONE);
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
    let append = AppendRequest {
        topic: topic.clone(),
        partition: PartitionIndex(0),
        batch: builder.build().unwrap().into_bytes(),
        acks: Acks::All,
        timeout: PATIENCE,
        keep: None,
    };
    let new = NewTopic { name: "new".into(), ..NewTopic::default() };
    let offsets = fetched_offset(broker, &caller).await;
    let transactions = hears_of_transactions(broker, &caller).await;
    let mut heard = vec![
        ("append", of(broker.append(&caller, append).await)),
        (
            "read",
            of(broker.read(&caller, &topic, PartitionIndex(0), Offset::ZERO, 1, Duration::ZERO, uncommitted).await),
        ),
        (
            "list_offsets",
            of(broker.list_offsets(&caller, &topic, PartitionIndex(0), OffsetSpec::Latest, None, none).await),
        ),
        ("topic", of(broker.topic(&caller, &topic))),
        ("topic (by id)", of(broker.topic(&caller, &id))),
        ("topic_configs", of(broker.topic_configs(&caller, &topic))),
        ("alter_topic_configs", of(broker.alter_topic_configs(&caller, "t", vec![], true).await)),
        ("create_topics", of(broker.create_topics(&caller, vec![new], true).await.remove(0))),
        ("topic_or_create", of(broker.topic_or_create(&caller, "other").await)),
        ("create_partitions", of(broker.create_partitions(&caller, "t", 2, None, true).await)),
        ("broker_configs", of(broker.broker_configs(&caller, ""))),
        ("init_producer_id", of(broker.init_producer_id(&caller).await)),
        ("group_coordinator", of(broker.group_coordinator(&caller, "g").await)),
        ("fetch_offsets", offsets),
        ("describe_acls", of(broker.describe_acls(&caller, &AclFilter::ALL))),
        ("create_acls", of(broker.create_acls(&caller, vec![]).await)),
        ("describe_users", of(broker.describe_users(&caller, None))),
        ("alter_users", of(broker.alter_users(&caller, vec![]).await)),
    ];
    heard.extend(transactions);
    heard
}

/// With this rule alone: what alice then may do.
async fn opened_by(fixture: &Fixture, rule: AclBinding) -> Vec<&'static str> {
    fixture.broker.create_acls(&fixture.caller, vec![rule]).await.unwrap().remove(0).unwrap();
    let heard = hears(&fixture.broker).await;
    fixture.broker.delete_acls(&fixture.caller, vec![AclFilter::ALL]).await.unwrap();
    heard.into_iter().filter(|(_, error)| !is_refusal(*error)).map(|(name, _)| name).collect()
}

pub(super) fn is_refusal(error: KafkaError) -> bool {
    use KafkaError::*;
    matches!(
        error,
        TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | ClusterAuthorizationFailed
            | DelegationTokenAuthorizationFailed
            | UnknownTopicId
    )
}

#[tokio::test]
async fn each_use_case_asks_for_kafkas_operation() {
    use Operation::*;
    let fixture = with_acls().await;
    fixture.create("t", 1, &[]).await;
    // The coordinator is there and loaded, so that only the rule decides.
    fixture.broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    while fetched_offset(&fixture.broker, &fixture.caller).await == KafkaError::CoordinatorLoadInProgress {
        tokio::task::yield_now().await;
    }
    let seen = ["list_offsets", "topic", "topic (by id)"];
    // In the order in which they are asked.
    let before = |first: &'static str| [&[first][..], &seen].concat();
    let behind = |last: &'static str| [&seen[..], &[last]].concat();
    let topic = |operation| allow(ResourceType::Topic, "t", operation);
    let cluster = |operation| allow(ResourceType::Cluster, "kafka-cluster", operation);
    let group = |operation| allow(ResourceType::Group, "g", operation);
    let transactional_id = |operation| allow(ResourceType::TransactionalId, "tx", operation);
    let cases: Vec<(AclBinding, Vec<&str>)> = vec![
        (topic(Read), before("read")),
        (topic(Write), [before("append"), vec!["init_producer_id"]].concat()),
        (topic(Describe), seen.to_vec()),
        (topic(Delete), seen.to_vec()),
        (topic(Alter), behind("create_partitions")),
        (topic(Create), vec![]),
        (topic(DescribeConfigs), vec!["topic_configs"]),
        (topic(AlterConfigs), vec!["topic_configs", "alter_topic_configs"]),
        (allow(ResourceType::Topic, "new", Create), vec!["create_topics"]),
        (allow(ResourceType::Topic, "other", Create), vec![]),
        (cluster(Create), vec!["create_topics"]),
        (cluster(Alter), vec!["describe_acls", "create_acls", "describe_users", "alter_users", "write_markers_for"]),
        (cluster(Describe), vec!["describe_acls", "describe_users"]),
        (cluster(DescribeConfigs), vec!["broker_configs"]),
        (cluster(AlterConfigs), vec!["broker_configs"]),
        (cluster(IdempotentWrite), vec!["init_producer_id"]),
        (cluster(ClusterAction), vec!["add_partitions_to_transaction (for a broker)", "write_markers_for"]),
        (group(Read), vec!["group_coordinator"]),
        (group(Describe), vec!["group_coordinator"]),
        (
            // The partitions and the group of a transaction are asked for by themselves.
            transactional_id(Write),
            vec!["transaction_coordinator", "init_transactional_producer", "end_transaction", "describe_transaction"],
        ),
        (transactional_id(Describe), vec!["transaction_coordinator", "describe_transaction"]),
    ];
    for (rule, expected) in cases {
        let shown = format!("{} on {}", rule.operation.name(), rule.name);
        assert_eq!(opened_by(&fixture, rule).await, expected, "{shown}");
    }
}

/// A request names a topic once for very many partitions.
#[tokio::test]
async fn partitions_are_not_counted_out_for_who_may_not_ask() {
    let fixture = with_acls().await;
    let markers = std::iter::from_fn(|| -> Option<Markers> { panic!("somebody looks at the markers") });
    assert_eq!(of(fixture.broker.write_markers_for(&alice(), markers).await), KafkaError::ClusterAuthorizationFailed);
    let producer = Producer { id: ProducerId(1), epoch: ProducerEpoch(0) };
    let asked = PartitionsToAdd { id: "tx".into(), producer, from_broker: Some(TransactionCheck::Add) };
    let partitions = std::iter::from_fn(|| -> Option<(Arc<str>, PartitionIndex)> { panic!("somebody looks at them") });
    let added = fixture.broker.add_partitions_to_transaction(&alice(), asked, partitions).await.await;
    assert_eq!(of(added), KafkaError::ClusterAuthorizationFailed);
}

#[tokio::test]
async fn a_rule_holds_when_it_is_answered_and_no_longer_than_it_exists() {
    let fixture = with_acls().await;
    fixture.create("t", 1, &[]).await;
    let may = || fixture.broker.topic(&alice(), &TopicRef::from("t")).is_ok();
    assert!(!may() && fixture.broker.topics(&alice()).is_empty());
    let rule = allow(ResourceType::Topic, "t", Operation::Describe);
    for _ in 0..20 {
        fixture.broker.create_acls(&fixture.caller, vec![rule.clone()]).await.unwrap().remove(0).unwrap();
        assert!(may() && fixture.broker.topics(&alice()).len() == 1);
        let removed = fixture.broker.delete_acls(&fixture.caller, vec![AclFilter::ALL]).await.unwrap();
        assert_eq!(removed, [vec![rule.clone()]]);
        assert!(!may());
    }
    // Rules outlive a restart.
    fixture.broker.create_acls(&fixture.caller, vec![rule.clone()]).await.unwrap().remove(0).unwrap();
    let directory = fixture.stop().await;
    let acls = Some(AclDefaults::default());
    let fixture = Fixture::start_with(directory, |options| options.acls = acls).await;
    assert!(fixture.broker.topic(&alice(), &TopicRef::from("t")).is_ok());
    assert_eq!(fixture.broker.describe_acls(&fixture.caller, &AclFilter::ALL), Ok(vec![rule]));
}

/// A report of the member `m` that subscribes to nothing.
fn report(epoch: Epoch) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: MemberId::from("m"),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: Some(10_000),
        topics: None,
        regex: None,
        assignor: None,
        owned: Some(Vec::new()),
        client_id: "test".into(),
        client_host: "/10.0.0.1".into(),
        fresh_member_id: "fresh".into(),
        makes_ids: true,
        meant: None,
    }
}

/// The answer to a report, once the coordinator can give one.
async fn accepted(fixture: &Fixture, group: &str, beat: ConsumerHeartbeat) -> ConsumerBeat {
    loop {
        match fixture.broker.consumer_heartbeat(&fixture.caller, GroupId::from(group), beat.clone()).await.await {
            Ok(GroupReply::Consumer(Ok(beat))) => return beat,
            Err(BrokerError { error: KafkaError::CoordinatorLoadInProgress, .. }) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

/// What a member of the group reads after a report.
async fn reads(fixture: &Fixture, epoch: &mut Epoch, owned: &[TopicPartitions]) -> Vec<TopicPartitions> {
    let joins = *epoch == Epoch::JOIN;
    loop {
        let regex = joins.then(|| "in-.*".into());
        let beat = ConsumerHeartbeat { regex, owned: Some(owned.to_vec()), ..report(*epoch) };
        match fixture.broker.consumer_heartbeat(&alice(), GroupId::from("g"), beat).await.await {
            Ok(GroupReply::Consumer(Ok(beat))) => {
                *epoch = beat.epoch;
                return beat.assignment.unwrap_or_else(|| owned.to_vec());
            }
            Err(BrokerError { error: KafkaError::CoordinatorLoadInProgress, .. }) => tokio::task::yield_now().await,
            other => panic!("{:?}", other.map_err(|refused| refused.error)),
        }
    }
}

#[tokio::test]
async fn an_expression_is_resolved_again_when_access_rules_change() {
    let fixture = with_acls().await;
    for topic in ["in-a", "in-b", "out"] {
        fixture.create(topic, 1, &[]).await;
    }
    let describe = |topic| allow(ResourceType::Topic, topic, Operation::Describe);
    let grant = async |rule| fixture.broker.create_acls(&fixture.caller, vec![rule]).await.unwrap().remove(0).unwrap();
    grant(allow(ResourceType::Group, "g", Operation::Read)).await;
    grant(describe("in-a")).await;
    fixture.broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    let of = |topic: &str| fixture.broker.image().topic(topic).unwrap().id;
    let partition = |topic| TopicPartitions { topic: of(topic), partitions: vec![PartitionIndex(0)] };
    let mut epoch = Epoch::JOIN;
    let first = reads(&fixture, &mut epoch, &[]).await;
    assert_eq!(first, [partition("in-a")]);
    grant(describe("in-b")).await;
    let mut both = reads(&fixture, &mut epoch, &first).await;
    both.sort_by_key(|part| part.topic != of("in-a"));
    assert_eq!(both, [partition("in-a"), partition("in-b")]);
    let filter = AclFilter { name: Some("in-a".into()), ..AclFilter::ALL };
    assert_eq!(fixture.broker.delete_acls(&fixture.caller, vec![filter]).await.unwrap(), [vec![describe("in-a")]]);
    assert_eq!(reads(&fixture, &mut epoch, &both).await, [partition("in-b")], "what it may not see any more goes");
}

/// All places for expressions of clients.
async fn all_places(fixture: &Fixture) -> Vec<FairPlace<Sharer>> {
    let mut places = Vec::new();
    for user in 0..EXPRESSIONS.places {
        let other = Caller { principal: Principal::user(&user.to_string()), ..fixture.caller.clone() };
        places.push(fixture.broker.expressions().place(Sharer::from(&other)).await.unwrap());
    }
    places
}

/// It keeps its member in the group as it would without waiting, and needs no place for what does not matter any more.
#[tokio::test]
async fn a_report_that_waits_for_a_place_is_made_again_meanwhile() {
    let fixture = with_acls_and(&[
        ("group.consumer.min.heartbeat.interval.ms", "1"),
        ("group.consumer.heartbeat.interval.ms", "1"),
    ])
    .await;
    fixture.create("in-a", 1, &[]).await;
    fixture.broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    let of = |member: &str, beat| ConsumerHeartbeat { member_id: MemberId::from(member), ..beat };
    let named = ConsumerHeartbeat { topics: Some(vec!["in-a".into()]), ..report(Epoch::JOIN) };
    let joined = accepted(&fixture, "g", of("named", named)).await;
    let matching = ConsumerHeartbeat { regex: Some("in-.*".into()), ..report(Epoch::JOIN) };
    accepted(&fixture, "g", of("matching", matching)).await;
    let _places = all_places(&fixture).await;
    // What the other's expression means has to be known now.
    fixture.create("in-b", 1, &[]).await;
    let mut waits = std::pin::pin!(accepted(&fixture, "g", of("named", report(joined.epoch))));
    for _ in 0..3 {
        assert!(futures::poll!(waits.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    accepted(&fixture, "g", of("matching", report(Epoch::LEAVE))).await;
    waits.await;
}

/// Neither the log thread nor another group has anything to do with how long an expression takes.
#[tokio::test]
async fn an_expression_waits_for_its_place_and_other_groups_do_not() {
    let fixture = with_acls().await;
    fixture.create("in-a", 1, &[]).await;
    fixture.broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    let joined =
        accepted(&fixture, "other", ConsumerHeartbeat { topics: Some(vec!["in-a".into()]), ..report(Epoch::JOIN) })
            .await;
    let places = all_places(&fixture).await;
    let beat = ConsumerHeartbeat { regex: Some("in-.*".into()), ..report(Epoch::JOIN) };
    let mut waits = std::pin::pin!(accepted(&fixture, "g", beat));
    for _ in 0..3 {
        assert!(futures::poll!(waits.as_mut()).is_pending());
        accepted(&fixture, "other", report(joined.epoch)).await;
    }
    drop(places);
    assert_eq!(waits.await.assignment.unwrap().len(), 1);
}

/// As Kafka: whoever may not read the group is told so, whatever topics he names.
#[tokio::test]
async fn a_member_is_asked_for_its_group_before_its_topics() {
    let fixture = with_acls().await;
    fixture.create("t", 1, &[]).await;
    let refused = async || {
        let beat = ConsumerHeartbeat { topics: Some(vec!["t".into()]), ..report(Epoch::JOIN) };
        let asked = fixture.broker.consumer_heartbeat(&alice(), GroupId::from("g"), beat).await.await;
        asked.map(drop).unwrap_err().error
    };
    let described = async || {
        let asked = fixture.broker.describe_consumer_group(&alice(), GroupId::from("g")).await.await;
        asked.map(drop).unwrap_err().error
    };
    assert_eq!(
        (refused().await, described().await),
        (KafkaError::GroupAuthorizationFailed, KafkaError::GroupAuthorizationFailed)
    );
    let rule = allow(ResourceType::Group, "g", Operation::Read);
    fixture.broker.create_acls(&fixture.caller, vec![rule]).await.unwrap().remove(0).unwrap();
    assert_eq!(refused().await, KafkaError::TopicAuthorizationFailed);
}

#[tokio::test]
async fn without_an_authorizer_rules_are_refused_as_kafka_refuses_them() {
    let fixture = Fixture::new().await;
    let rule = allow(ResourceType::Topic, "t", Operation::Describe);
    let error = fixture.broker.create_acls(&fixture.caller, vec![rule]).await.unwrap_err();
    assert_eq!((error.error, &*error.message), (KafkaError::SecurityDisabled, "No Authorizer is configured."));
    assert!(fixture.broker.topics(&alice()).is_empty(), "alice is not asked for rules");
    assert!(fixture.broker.broker_configs(&alice(), "").is_ok());
}

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn change(user: &str, password: Option<&str>) -> CredentialChange {
    let mechanism = ScramMechanism::Sha512;
    let password = password.map(|password| SaltedPassword {
        salt: b"salt".to_vec(),
        iterations: 4096,
        salted: salted_password(mechanism, password.as_bytes(), b"salt", 4096),
    });
    CredentialChange { user: user.into(), mechanism: Some(mechanism), password }
}

#[tokio::test]
async fn passwords_are_checked_and_nobody_learns_who_exists() {
    let fixture = Fixture::new().await;
    let broker = &fixture.broker;
    let results = broker.alter_users(&fixture.caller, vec![change("alice", Some("pencil"))]).await.unwrap();
    assert_eq!(results["alice"], Ok(()));
    let right = async |user: &str, password: &str| broker.check_password(user, password, ADDRESS).await.unwrap();
    assert!(right("alice", "pencil").await);
    assert!(!right("alice", "pencils").await);
    assert!(!right("bob", "pencil").await);
    let stored = broker.scram_credential("alice", ScramMechanism::Sha512);
    assert!(fits_password(ScramMechanism::Sha512, &stored, b"pencil"));
    assert_eq!(
        broker.scram_credential("bob", ScramMechanism::Sha512),
        broker.scram_credential("bob", ScramMechanism::Sha512)
    );
    let described = broker.describe_users(&fixture.caller, None).unwrap();
    assert_eq!(described["alice"], Ok(vec![CredentialInfo { mechanism: ScramMechanism::Sha512, iterations: 4096 }]));
    let named =
        broker.describe_users(&fixture.caller, Some(vec!["alice".into(), "bob".into(), "alice".into()])).unwrap();
    assert_eq!(named["alice"].as_ref().unwrap_err().error, KafkaError::DuplicateResource);
    assert_eq!(named["bob"].as_ref().unwrap_err().error, KafkaError::ResourceNotFound);
    broker.alter_users(&fixture.caller, vec![change("alice", None)]).await.unwrap();
    assert!(!right("alice", "pencil").await);
}

/// What a stranger sees of a name: rounds and salt, not whether somebody has it.
#[tokio::test]
async fn names_of_nobody_look_like_those_of_users_before_and_after_a_restart() {
    let fixture = Fixture::new().await;
    let (mechanism, salt) = (ScramMechanism::Sha512, b"1h3p9d5kfy7x2m8q4w6e0r5t7u".to_vec());
    let salted = salted_password(mechanism, b"pencil", &salt, 8192);
    let password = Some(SaltedPassword { salt, iterations: 8192, salted });
    let alice = CredentialChange { user: "alice".into(), mechanism: Some(mechanism), password };
    fixture.broker.alter_users(&fixture.caller, vec![alice]).await.unwrap()["alice"].clone().unwrap();
    let shape = |fixture: &Fixture, user: &str| fixture.broker.scram_credential(user, mechanism).shape(mechanism);
    assert_eq!(shape(&fixture, "bob"), shape(&fixture, "alice"));
    let before = fixture.broker.scram_credential("bob", mechanism);
    let fixture = fixture.restart().await;
    assert_eq!(fixture.broker.scram_credential("bob", mechanism), before);
    // Of a mechanism that nobody has, everybody looks the same.
    let other = fixture.broker.scram_credential("alice", ScramMechanism::Sha256);
    assert_eq!((other.iterations, other.salt.len()), (4096, 32));
    fixture
        .broker
        .alter_users(&fixture.caller, vec![change("alice", None), change("carol", Some("pen"))])
        .await
        .unwrap();
    assert_eq!(shape(&fixture, "bob"), shape(&fixture, "carol"), "alice's shape went with her");
}

/// Somebody who guesses as fast as it can from one address, and users at another.
#[tokio::test]
async fn guesses_from_one_address_hold_up_no_other() {
    let fixture = Fixture::new().await;
    let broker = &fixture.broker;
    let changes = vec![change("alice", Some("pencil")), change("bob", Some("pen"))];
    broker.alter_users(&fixture.caller, changes).await.unwrap();
    let guess = |n: usize| {
        let broker = broker.clone();
        tokio::spawn(async move { broker.check_password("alice", &format!("guess {n}"), ADDRESS).await })
    };
    let guesses: Vec<_> = (0..2_000).map(guess).collect();
    until("their queue is full", || guesses.iter().any(tokio::task::JoinHandle::is_finished)).await;
    let other = IpAddr::from([127, 0, 0, 2]);
    // As long as these are not through, the right ones pass them.
    for user in [("alice", "pencil"), ("bob", "pen")] {
        assert_eq!(broker.check_password(user.0, user.1, other).await, Ok(true));
    }
    let login = broker.token_login("nobody", ScramMechanism::Sha256, other).await.unwrap();
    assert!(login.live.is_none());
    assert!(guesses.iter().any(|guess| !guess.is_finished()), "the guesses are through already");
    // Whoever has been in lately is not even checked, wherever it comes from.
    assert_eq!(broker.check_password("alice", "pencil", ADDRESS).await, Ok(true));
    let mut put_off = 0;
    for guess in guesses {
        match guess.await.unwrap() {
            Ok(right) => assert!(!right),
            Err(error) => {
                assert_eq!(
                    (error.error, error.pause),
                    (KafkaError::ThrottlingQuotaExceeded, Some(Duration::from_secs(1)))
                );
                put_off += 1;
            }
        }
    }
    assert!(put_off > 1_000, "{put_off}: 256 wait and a few are being checked");
}

#[tokio::test]
async fn a_password_that_was_proven_is_not_believed_once_it_is_changed() {
    let fixture = Fixture::new().await;
    let broker = &fixture.broker;
    let set = async |password| {
        broker.alter_users(&fixture.caller, vec![change("alice", password)]).await.unwrap()["alice"].clone().unwrap();
    };
    let right = async |password: &str| broker.check_password("alice", password, ADDRESS).await.unwrap();
    set(Some("pencil")).await;
    assert!(right("pencil").await && right("pencil").await);
    set(Some("pen")).await;
    assert!(!right("pencil").await && right("pen").await);
    set(None).await;
    assert!(!right("pen").await);
}
