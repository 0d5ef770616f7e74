use std::collections::BTreeMap;

use tidelog_model::{
    KafkaError, LeaderEpoch, NodeId, PartitionIndex, ProducerId, QuotaKind, ScramMechanism, Timestamp, TopicId,
    TopicName,
};
use uuid::Uuid;

use super::world::World;
use crate::decide::*;
use crate::kraft::{KraftAcl, KraftImage, KraftPartition, KraftScram, KraftToken, KraftTopic, resource};

const NODE: NodeId = NodeId(1);
const PLACE: Place = Place { node: NODE, directory: TopicId(Uuid::from_u128(1000)) };
const NOW: Timestamp = Timestamp(1_000_000);

fn id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

/// A partition on these nodes, all in directories of the number 999 + node.
fn partition(replicas: &[i32], leader_epoch: i32) -> KraftPartition {
    let directories = replicas.iter().map(|node| id(999 + *node as u128)).collect();
    KraftPartition { replicas: replicas.to_vec(), directories, leader_epoch }
}

fn add(kraft: &mut KraftImage, number: u128, name: &str, partitions: &[KraftPartition], settings: &[(&str, &str)]) {
    let partitions = (0..).zip(partitions.iter().cloned()).collect();
    kraft.topics.insert(id(number), KraftTopic { name: name.to_owned(), partitions });
    set(kraft, resource::TOPIC, name, settings);
}

fn set(kraft: &mut KraftImage, kind: i8, name: &str, settings: &[(&str, &str)]) {
    if !settings.is_empty() {
        let texts = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        kraft.configs.insert((kind, name.to_owned()), texts.collect());
    }
}

/// Folders of these partitions, led in epoch 2.
fn folders(number: u128, name: &str, partitions: &[i32], compacted: bool) -> FoundTopic {
    let partitions = partitions.iter().map(|index| (PartitionIndex(*index), LeaderEpoch(2))).collect();
    FoundTopic { id: id(number), name: TopicName::new(name).unwrap(), partitions, compacted, settings: None }
}

fn inherit(world: &World, kraft: &KraftImage, found: Vec<FoundTopic>) -> Result<(Vec<FoundTopic>, String), Refusal> {
    let mut told = Told::default();
    let topics = inherited_topics(kraft, found, PLACE, &world.broker, &mut told)?;
    Ok((topics, told.lines().collect::<Vec<_>>().join("\n")))
}

/// The settings of the only topic, in short.
fn settings(world: &World, kraft: &KraftImage, compacted: bool) -> (BTreeMap<String, String>, String) {
    let name = kraft.topics.values().next().unwrap().name.clone();
    let (topics, told) = inherit(world, kraft, vec![folders(1, &name, &[0], compacted)]).unwrap();
    let mut texts = topics[0].settings.as_ref().unwrap().texts();
    assert_eq!(texts.remove("remote.storage.enable").as_deref(), Some("false"), "nothing is uploaded unasked");
    (texts, told)
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn topics_are_those_of_the_metadata_and_not_those_of_the_folders() {
    let mut world = World::default();
    let mut kraft = KraftImage::default();
    add(&mut kraft, 1, "here", &[partition(&[1], 7), partition(&[2, 1], 1)], &[]);
    add(&mut kraft, 2, "elsewhere", &[partition(&[2], 0), partition(&[3], 0)], &[]);
    add(&mut kraft, 3, "__share_group_state", &[partition(&[1], 0)], &[]);
    add(&mut kraft, 4, "__consumer_offsets", &[partition(&[1], 0)], &[("segment.bytes", "1048576")]);
    let found = vec![
        folders(1, "here", &[0], false),
        folders(9, "here", &[0, 1, 2], false),
        folders(8, "deleted", &[0], false),
    ];
    let (topics, told) = inherit(&world, &kraft, found).unwrap();
    let names: Vec<_> = topics.iter().map(|topic| (topic.id, topic.name.as_str())).collect();
    assert_eq!(names, [(id(1), "here"), (id(4), "__consumer_offsets")]);
    let epochs: Vec<i32> = topics[0].partitions.values().map(|epoch| epoch.get()).collect();
    assert_eq!(epochs, [7, 1], "the newest epoch that anybody knows");
    for line in
        ["deleted; they stay where they are: deleted, here", "directories: elsewhere", "known here: __share_group"]
    {
        assert!(told.contains(line), "{told}");
    }
    for topic in &topics {
        let plan = adopt_topic(&world.image, NODE, &world.broker, topic).unwrap();
        world.run(plan);
    }
    let internal = world.image.topic("__consumer_offsets").unwrap().configs.texts();
    assert_eq!((&internal["cleanup.policy"][..], &internal["segment.bytes"][..]), ("compact", "1048576"));
}

#[test]
fn a_topic_of_which_a_part_is_elsewhere_is_refused() {
    let world = World::default();
    let unassigned = KraftPartition { replicas: vec![1], directories: vec![id(0)], leader_epoch: 0 };
    let other_directory = KraftPartition { replicas: vec![1], directories: vec![id(5000)], leader_epoch: 0 };
    for (partitions, here) in [
        (vec![partition(&[1], 0), partition(&[2], 0)], None),
        (vec![partition(&[1], 0), other_directory.clone()], None),
        (vec![partition(&[1], 0), unassigned], Some(true)),
        (vec![other_directory.clone()], Some(false)),
    ] {
        let mut kraft = KraftImage::default();
        add(&mut kraft, 1, "t", &partitions, &[]);
        match (inherit(&world, &kraft, Vec::new()), here) {
            (Ok((topics, _)), Some(here)) => assert_eq!(topics.len() == 1, here, "{partitions:?}"),
            (Err(refusal), None) => assert_eq!(refusal.error, KafkaError::InvalidPartitions),
            (other, _) => panic!("{partitions:?}: {other:?}"),
        }
    }
    // What has a folder is here, whatever the metadata says of directories.
    let mut kraft = KraftImage::default();
    add(&mut kraft, 1, "t", &[other_directory], &[]);
    assert_eq!(inherit(&world, &kraft, vec![folders(1, "t", &[0], false)]).unwrap().0.len(), 1);
}

/// Records live as long as the metadata says. Where only the file of that broker said it, they stay until somebody says it here.
#[test]
fn retention_goes_on_where_it_is_known() {
    let mut world = World::default();
    let topic = |settings: &[(&str, &str)]| {
        let mut kraft = KraftImage::default();
        add(&mut kraft, 1, "t", &[partition(&[1], 0)], settings);
        kraft
    };
    let own = [("retention.ms", "5000"), ("max.message.bytes", "77")];
    let (kept, told) = settings(&world, &topic(&own), false);
    assert_eq!(kept, texts(&own));
    assert!(told.contains("retention goes on, from the first log.retention.check.interval.ms on: t"), "{told}");
    let (kept, told) = settings(&world, &topic(&[]), false);
    assert_eq!(kept, texts(&[("retention.ms", "-1")]));
    assert!(told.contains("keep everything until their retention.ms is deleted: t"), "{told}");
    // Somebody says it: for all brokers while they ran, or here.
    let mut kraft = topic(&[]);
    set(&mut kraft, resource::BROKER, "", &[("log.retention.ms", "5000")]);
    assert_eq!(settings(&world, &kraft, false).0, texts(&[]));
    world.configure(&[("log.retention.hours", "24")]);
    assert_eq!(settings(&world, &topic(&[]), false).0, texts(&[]));
    // A compacted log without a policy was compacted by the file; one that says so goes on.
    let compact = [("cleanup.policy", "compact")];
    assert_eq!(settings(&world, &topic(&compact), true).0, texts(&compact));
    let (kept, told) = settings(&world, &topic(&[]), true);
    assert_eq!((&kept["cleanup.policy"][..], kept["min.compaction.lag.ms"].parse()), ("compact", Ok(i64::MAX)));
    assert!(told.contains("not compacted further"), "{told}");
    // It was compacted once: its gaps are no reason to keep it so.
    let once = [("cleanup.policy", "delete"), ("retention.ms", "1")];
    assert_eq!(settings(&world, &topic(&once), true).0, texts(&once));
}

#[test]
fn settings_that_contradict_each_other_are_told_and_keep_records_longer() {
    let mut world = World::default();
    let of = |settings: &[(&str, &str)]| {
        let mut kraft = KraftImage::default();
        add(&mut kraft, 1, "t", &[partition(&[1], 0)], settings);
        kraft
    };
    let longest = i64::MAX.to_string();
    let says = |told: &str, what: &str| told.contains(&format!("min.compaction.lag.ms and does not hold: t ({what})"));
    // Compacted by the file only: it is not compacted further, whatever it said itself of the longest lag.
    let (kept, told) = settings(&world, &of(&[("max.compaction.lag.ms", "5000")]), true);
    assert_eq!((&kept["min.compaction.lag.ms"], &kept["max.compaction.lag.ms"]), (&longest, &longest));
    assert!(says(&told, "its own"), "{told}");
    let both = [("max.compaction.lag.ms", "5"), ("min.compaction.lag.ms", "10"), ("cleanup.policy", "compact")];
    let (kept, told) = settings(&world, &of(&both), false);
    assert_eq!((&kept["min.compaction.lag.ms"][..], &kept["max.compaction.lag.ms"]), ("10", &longest));
    assert!(says(&told, "its own"), "{told}");
    world.configure(&[("log.cleaner.max.compaction.lag.ms", "5")]);
    let (kept, told) = settings(&world, &of(&both[1..]), false);
    assert_eq!((&kept["min.compaction.lag.ms"][..], &kept["max.compaction.lag.ms"]), ("10", &longest));
    assert!(says(&told, "the brokers'"), "{told}");
    // What fits stays as it was.
    let fits = [("cleanup.policy", "compact"), ("max.compaction.lag.ms", "20"), ("min.compaction.lag.ms", "10")];
    assert_eq!(settings(&world, &of(&fits), false), (texts(&fits), String::new()));
}

#[test]
fn settings_that_are_not_possible_here_are_told() {
    let world = World::default();
    let mut kraft = KraftImage::default();
    let own = [
        ("retention.ms", "1"),
        ("min.insync.replicas", "2"),
        ("future.setting", "x"),
        ("segment.bytes", "1"),
        ("remote.storage.enable", "true"),
    ];
    add(&mut kraft, 1, "t", &[partition(&[1], 0)], &own);
    let (kept, told) = settings(&world, &kraft, false);
    assert_eq!(kept, texts(&own[..2]));
    for line in ["not possible here: future.setting of t, segment.bytes of t", "tiered; what"] {
        assert!(told.contains(line), "{told}");
    }
}

fn rest(world: &mut World, kraft: &KraftImage) -> Result<(Inherited, String), Refusal> {
    let mut told = Told::default();
    let (inherited, plan) = inherit_rest(&world.image, kraft, NODE, &world.broker, NOW, &mut told)?;
    world.run(plan);
    // Once more, as after a crash.
    let again = inherit_rest(&world.image, kraft, NODE, &world.broker, NOW, &mut Told::default())?;
    assert_eq!(again.0, inherited);
    world.run(again.1);
    Ok((inherited, told.lines().collect::<Vec<_>>().join("\n")))
}

fn allow(operation: i8, permission: i8) -> KraftAcl {
    KraftAcl {
        resource: 2,
        name: "orders".to_owned(),
        pattern: 3,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation,
        permission,
    }
}

#[test]
fn what_is_no_topic_is_taken_over_or_told() {
    let mut world = World::default();
    world.configure(&[("delegation.token.secret.key", "the same on every broker, and long")]);
    let mut kraft = KraftImage { next_producer_id: Some(5000), ..KraftImage::default() };
    kraft.controllers.insert(1);
    set(
        &mut kraft,
        resource::BROKER,
        "",
        &[("message.max.bytes", "7"), ("log.cleaner.threads", " 2 "), ("queued.max.requests", "2")],
    );
    let tls = ("listener.name.ssl.ssl.keystore.location", "/of/another/machine.pem");
    set(&mut kraft, resource::BROKER, "1", &[("log.segment.bytes", "2000000"), tls]);
    set(&mut kraft, resource::BROKER, "2", &[("log.segment.bytes", "2000000")]);
    set(&mut kraft, resource::GROUP, "g", &[("consumer.session.timeout.ms", "50000"), ("share.x", "1")]);
    set(&mut kraft, resource::CLIENT_METRICS, "sub", &[("interval.ms", "1000"), ("future", "1")]);
    let user = |name: &str| vec![("user".to_owned(), Some(name.to_owned()))];
    kraft.quotas.insert(user("alice"), [("producer_byte_rate".to_owned(), 5.0), ("future".to_owned(), 1.0)].into());
    kraft.quotas.insert(vec![("planet".to_owned(), None)], [("producer_byte_rate".to_owned(), 5.0)].into());
    let scram =
        |length| KraftScram { salt: vec![1], stored_key: vec![2; length], server_key: vec![3; 64], iterations: 4096 };
    kraft.scram.insert(("alice".to_owned(), 2), scram(64));
    kraft.scram.insert(("odd".to_owned(), 2), scram(63));
    kraft.acls.insert(Uuid::from_u128(1), allow(3, 3));
    kraft.acls.insert(Uuid::from_u128(2), allow(99, 3));
    let token = |expires| KraftToken {
        owner: "User:alice".to_owned(),
        requester: "User:alice".to_owned(),
        renewers: vec!["User:bob".to_owned()],
        issued: 1,
        ends: 9_000_000,
        expires,
    };
    kraft.tokens.insert("lives".to_owned(), token(2_000_000));
    kraft.tokens.insert("over".to_owned(), token(2));
    kraft.unknown.insert(77, 3);
    let (inherited, told) = rest(&mut world, &kraft).unwrap();
    let expected =
        Inherited { broker_settings: 3, groups: 1, client_metrics: 1, quotas: 1, acls: 1, credentials: 1, tokens: 1 };
    assert_eq!(inherited, expected);
    for line in [
        "settings of other brokers: 2",
        "(table [broker]): queued.max.requests",
        "set under [tls] here, or anew: listener.name.ssl.ssl.keystore.location",
        "not known here: share.x of g",
        "not known here: future of sub",
        "possible here: future of user=alice",
        "possible here: planet=*",
        "possible here: odd",
        "not understood: User:alice on orders",
        "3 of kind 77",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let image = &world.image;
    let of = |node| image.broker_configs(node).unwrap().value.texts();
    assert_eq!(
        (of(None), of(Some(NODE))),
        (
            texts(&[("log.cleaner.threads", "2"), ("message.max.bytes", "7")]),
            texts(&[("log.segment.bytes", "2000000")])
        )
    );
    assert_eq!(image.group_configs("g").unwrap().value.texts(), texts(&[("consumer.session.timeout.ms", "50000")]));
    assert_eq!(image.client_metrics("sub").unwrap().value.texts(), texts(&[("interval.ms", "1000")]));
    let alice = "user=alice".parse().unwrap();
    assert_eq!(image.quotas_of(&alice).unwrap().value.quotas, [(QuotaKind::ProducerByteRate, 5.0)].into());
    assert_eq!(image.scram("alice", ScramMechanism::Sha512).unwrap().value.stored_key, [2; 64]);
    assert_eq!((image.acl_count(), image.delegation_token_count()), (1, 1));
    assert_eq!(image.producer_ids().unwrap().value.next, ProducerId(5000));
}

#[test]
fn a_user_that_was_made_here_before_keeps_his_password() {
    let mut world = World::default();
    let kraft = |key: u8| {
        let scram = KraftScram { salt: vec![1], stored_key: vec![key; 64], server_key: vec![3; 64], iterations: 4096 };
        let mut kraft = KraftImage::default();
        kraft.scram.insert(("alice".to_owned(), 2), scram);
        kraft
    };
    assert_eq!(rest(&mut world, &kraft(7)).unwrap().0.credentials, 1);
    let (inherited, told) = rest(&mut world, &kraft(8)).unwrap();
    assert_eq!(inherited.credentials, 0);
    assert!(told.contains("they keep the passwords that they have here: alice"), "{told}");
    assert_eq!(world.image.scram("alice", ScramMechanism::Sha512).unwrap().value.stored_key, [7; 64]);
}

#[test]
fn a_rule_that_may_deny_is_not_passed_over() {
    let mut world = World::default();
    let mut kraft = KraftImage::default();
    kraft.acls.insert(Uuid::from_u128(2), allow(99, 2));
    assert_eq!(rest(&mut world, &kraft).unwrap_err().error, KafkaError::InvalidRequest);
}

#[test]
fn tokens_need_the_key_that_their_secrets_follow_from() {
    let mut world = World::default();
    let mut kraft = KraftImage::default();
    let user = || "User:a".to_owned();
    let token =
        KraftToken { owner: user(), requester: user(), renewers: vec![], issued: 1, ends: i64::MAX, expires: i64::MAX };
    kraft.tokens.insert("t".to_owned(), token);
    let (inherited, told) = rest(&mut world, &kraft).unwrap();
    assert_eq!(inherited.tokens, 0);
    assert!(told.contains("delegation.token.secret.key is not set to Kafka's: t"), "{told}");
}

/// Kafka takes a key of any length, and its tokens go on with no other one.
#[test]
fn tokens_of_a_short_key_go_on() {
    let mut world = World::default();
    world.configure(&[("delegation.token.secret.key", "k")]);
    let mut kraft = KraftImage::default();
    let user = || "User:a".to_owned();
    let token =
        KraftToken { owner: user(), requester: user(), renewers: vec![], issued: 1, ends: i64::MAX, expires: i64::MAX };
    kraft.tokens.insert("t".to_owned(), token);
    assert_eq!(rest(&mut world, &kraft).unwrap().0.tokens, 1);
}

/// Another controller may have given blocks of which this node never heard.
#[test]
fn producer_ids_of_other_controllers_are_not_given_again() {
    for (controllers, next) in [(&[1][..], 5000), (&[1, 2], 1 << 40), (&[], 1 << 40), (&[2], 1 << 40)] {
        let mut world = World::default();
        let kraft = KraftImage {
            next_producer_id: Some(5000),
            controllers: controllers.iter().copied().collect(),
            ..KraftImage::default()
        };
        rest(&mut world, &kraft).unwrap();
        assert_eq!(world.image.producer_ids().unwrap().value.next, ProducerId(next), "{controllers:?}");
    }
}

#[test]
fn much_of_one_kind_is_told_shortly() {
    let mut world = World::default();
    let mut kraft = KraftImage::default();
    for node in 10..60 {
        set(&mut kraft, resource::BROKER, &node.to_string(), &[("message.max.bytes", "7")]);
    }
    let (_, told) = rest(&mut world, &kraft).unwrap();
    assert!(told.contains(" 29 and 30 more"), "{told}");
}
