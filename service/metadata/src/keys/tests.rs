use std::collections::BTreeMap;

use proptest::prelude::*;
use tidelog_model::{
    AclBinding, AclOperation, BrokerEpoch, LeaderEpoch, Operation, PatternType, Permission, ProducerId, QuotaKind,
    ResourceType, ScramCredential,
};
use uuid::Uuid;

use super::*;
use crate::broker_config::BrokerOverrides;
use crate::topic_config::TopicOverrides;

fn id(last: u8) -> TopicId {
    let mut bytes = [0; 16];
    bytes[15] = last;
    TopicId::from_bytes(bytes)
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn entity(text: &str) -> QuotaEntity {
    text.parse().unwrap()
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

#[test]
fn keys_have_one_spelling() {
    let texts = [
        (Key::Cluster, "cluster"),
        (Key::Broker(NodeId(7)), "brokers/7"),
        (Key::Controller, "controller"),
        (Key::Name(name("a.b")), "names/a.b"),
        (Key::Partition(id(1), PartitionIndex(12)), "partitions/AAAAAAAAAAAAAAAAAAAAAQ/12"),
        (Key::Topic(id(1)), "topics/AAAAAAAAAAAAAAAAAAAAAQ"),
        (Key::Deletion(id(1)), "deletions/AAAAAAAAAAAAAAAAAAAAAQ"),
        (Key::BrokerConfigs(Some(NodeId(7))), "configs/broker/7"),
        (Key::BrokerConfigs(None), "configs/broker/default"),
        (Key::GroupConfigs("a/b c".into()), "configs/group/a/b c"),
        (Key::ClientMetrics("a/b c".into()), "configs/client-metrics/a/b c"),
        (Key::Features, "features"),
        (Key::ProducerIds, "producer-ids"),
        (Key::Quotas(entity("user=a%2Fb,client-id=*")), "quotas/user=a%2Fb,client-id=*"),
        (Key::Acl(Uuid::from_u128(1)), "acls/00000000-0000-0000-0000-000000000001"),
        (Key::Scram(ScramMechanism::Sha256, "a/b c".into()), "scram/SCRAM-SHA-256/a/b c"),
        (Key::DelegationToken("Zm9v_-1".into()), "delegation-tokens/Zm9v_-1"),
    ];
    for (key, text) in texts {
        assert_eq!(key.to_string(), text);
        assert_eq!(Key::parse(text), Ok(key));
    }
    for bad in [
        "",
        "cluster/",
        "configs/group/",
        "configs/client-metrics/",
        "configs/topic/t",
        "brokers/",
        "brokers/07",
        "brokers/-1",
        "brokers/x",
        "names/",
        "names/a/b",
        "names/ä",
        "topics/short",
        "partitions/AAAAAAAAAAAAAAAAAAAAAQ",
        "partitions/AAAAAAAAAAAAAAAAAAAAAQ/+1",
        "acls/1",
        "configs/broker/",
        "configs/topic/x",
        "quotas/",
        "quotas/user=a/b",
        "quotas/client-id=*,user=a",
        "quotas/user=%61",
    ] {
        assert_eq!(Key::parse(bad), Err(KeyError::UnknownKey(bad.to_string())), "{bad}");
    }
}

#[test]
fn delegation_tokens_come_back_and_have_these_bytes() {
    let user = tidelog_model::Principal::user;
    let token = DelegationTokenValue {
        owner: user("alice"),
        requester: user("admin"),
        renewers: vec![user("bob")],
        issued: tidelog_model::Timestamp(1),
        expires: tidelog_model::Timestamp(2),
        ends: tidelog_model::Timestamp(3),
    };
    let bytes = r#"{"version":1,"owner":"User:alice","requester":"User:admin","renewers":["User:bob"],"issued":1,"expires":2,"ends":3}"#;
    assert_eq!(token.encode(), bytes.as_bytes());
    assert_eq!(DelegationTokenValue::decode("id", bytes.as_bytes()), Ok(token));
    assert!(DelegationTokenValue::decode("id", bytes.replace("User:bob", "bob").as_bytes()).is_err());
    for bad in ["delegation-tokens/", "delegation-tokens/a/b", "delegation-tokens/a b"] {
        assert!(Key::parse(bad).is_err(), "{bad}");
    }
}

/// The bytes that each file's comment shows.
#[test]
fn golden_bytes() {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let cluster = ClusterValue { cluster_id: "5L6g3nShT-eMCtK--X86sw".into() };
    assert_eq!(text(cluster.encode()), r#"{"version":1,"cluster_id":"5L6g3nShT-eMCtK--X86sw"}"#);
    let endpoint =
        Endpoint { listener: "PLAINTEXT".into(), security: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 };
    let broker = BrokerValue {
        incarnation: Uuid::parse_str("67e55044-10b1-426f-9247-bb680e5fe0c8").unwrap(),
        rack: None,
        endpoints: vec![endpoint],
        http: Some("http://127.0.0.1:8082".into()),
    };
    assert_eq!(
        text(broker.encode()),
        concat!(
            r#"{"version":1,"incarnation":"67e55044-10b1-426f-9247-bb680e5fe0c8","rack":null,"#,
            r#""endpoints":[{"listener":"PLAINTEXT","security":"PLAINTEXT","host":"127.0.0.1","port":9092}],"#,
            r#""http":"http://127.0.0.1:8082"}"#
        )
    );
    assert_eq!(BrokerValue::decode(NodeId(1), &broker.encode()), Ok(broker));
    let controller = ControllerValue { broker: NodeId(1), broker_epoch: BrokerEpoch(7) };
    assert_eq!(text(controller.encode()), r#"{"version":1,"broker":1,"broker_epoch":7}"#);
    assert_eq!(ControllerValue::decode(&controller.encode()), Ok(controller));
    assert_eq!(text(NameValue { topic: id(1) }.encode()), r#"{"version":1,"topic":"AAAAAAAAAAAAAAAAAAAAAQ"}"#);
    let topic = TopicValue {
        name: name("orders"),
        partitions: 3,
        configs: TopicOverrides::new(configs(&[("retention.ms", "1000")])).unwrap(),
    };
    assert_eq!(
        text(topic.encode()),
        r#"{"version":1,"name":"orders","partitions":3,"configs":{"retention.ms":"1000"}}"#
    );
    let state = PartitionState {
        replicas: vec![NodeId(1)],
        isr: vec![IsrMember { broker: NodeId(1), epoch: BrokerEpoch(7) }],
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(0),
        adding: vec![],
        removing: vec![],
    };
    assert_eq!(
        text(state.encode()),
        concat!(
            r#"{"version":1,"replicas":[1],"isr":[{"broker":1,"epoch":7}],"leader":1,"leader_epoch":0,"#,
            r#""adding":[],"removing":[]}"#
        )
    );
    let deletion = DeletionValue { name: name("orders"), partitions: 3 };
    assert_eq!(text(deletion.encode()), r#"{"version":1,"name":"orders","partitions":3}"#);
    let ids = ProducerIdsValue { next: ProducerId(3000) };
    assert_eq!(text(ids.encode()), r#"{"version":1,"next":3000}"#);
    let rule = AclValue(AclBinding {
        resource: ResourceType::Topic,
        pattern: PatternType::Literal,
        name: "orders".into(),
        principal: "User:alice".into(),
        host: "*".into(),
        operation: AclOperation::Only(Operation::Read),
        permission: Permission::Allow,
    });
    assert_eq!(
        text(rule.encode()),
        concat!(
            r#"{"version":1,"resource":"TOPIC","pattern":"LITERAL","name":"orders","principal":"User:alice","#,
            r#""host":"*","operation":"READ","permission":"ALLOW"}"#
        )
    );
    assert_eq!(AclValue::decode(Uuid::nil(), &rule.encode()), Ok(rule));
    let credential = ScramValue(ScramCredential {
        salt: b"salt".to_vec(),
        stored_key: vec![1; 32],
        server_key: vec![2; 32],
        iterations: 4096,
    });
    assert_eq!(
        text(credential.encode()),
        concat!(
            r#"{"version":1,"salt":"c2FsdA==","stored_key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","#,
            r#""server_key":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","iterations":4096}"#
        )
    );
    assert_eq!(ScramValue::decode(ScramMechanism::Sha256, "u", &credential.encode()), Ok(credential.clone()));
    assert!(ScramValue::decode(ScramMechanism::Sha512, "u", &credential.encode()).is_err(), "keys of another length");
    let overrides = BrokerOverrides::new(configs(&[("log.retention.ms", "1000")])).unwrap();
    assert_eq!(text(overrides.encode()), r#"{"version":1,"configs":{"log.retention.ms":"1000"}}"#);
    assert_eq!(BrokerOverrides::decode(&Key::BrokerConfigs(None), &overrides.encode()), Ok(overrides));
    let quotas = BTreeMap::from([(QuotaKind::ProducerByteRate, 1024.0)]);
    let quotas = QuotasValue { quotas, ..Default::default() };
    assert_eq!(text(quotas.encode()), r#"{"version":1,"quotas":{"producer_byte_rate":1024.0}}"#);
    assert_eq!(QuotasValue::decode(&entity("user=a"), &quotas.encode()), Ok(quotas));
}

#[test]
fn what_somebody_newer_wrote_is_refused() {
    let newer = br#"{"version":2,"topic":"AAAAAAAAAAAAAAAAAAAAAQ"}"#;
    let error = NameValue::decode(&name("a"), newer).unwrap_err();
    assert_eq!(error, KeyError::Version { key: "names/a".into(), found: 2, known: 1 });
    assert_eq!(error.to_string(), "names/a: format version 2; this program knows version 1");
    let field = br#"{"version":1,"topic":"AAAAAAAAAAAAAAAAAAAAAQ","colour":"red"}"#;
    assert!(matches!(NameValue::decode(&name("a"), field), Err(KeyError::Value { .. })));
    // Another version is told even if nothing else is as expected.
    let other = br#"{"version":9,"anything":[]}"#;
    assert!(matches!(PartitionState::decode(id(1), PartitionIndex(0), other), Err(KeyError::Version { found: 9, .. })));
}

/// An update must not keep a broker from starting because of a setting that the version before took.
#[test]
fn a_setting_that_another_version_took_is_kept_byte_for_byte() {
    let topic = br#"{"version":1,"name":"a","partitions":1,"configs":{"no.such.key":"1","segment.bytes":" 5"}}"#;
    assert_eq!(TopicValue::decode(id(1), topic).unwrap().encode(), &topic[..]);
    let broker = br#"{"version":1,"configs":{"log.retention.ms":"soon","no.such.key":"1","num.partitions":"2"}}"#;
    let overrides = BrokerOverrides::decode(&Key::BrokerConfigs(None), broker).unwrap();
    assert_eq!((overrides.unfit().count(), overrides.is_empty()), (3, false));
    assert_eq!(overrides.encode(), &broker[..]);
    let quotas = br#"{"version":1,"quotas":{"no_such_rate":1.0,"producer_byte_rate":-1.0,"request_percentage":5.0}}"#;
    let value = QuotasValue::decode(&entity("user=a"), quotas).unwrap();
    assert_eq!((value.quotas.len(), value.unfit.len()), (1, 2));
    assert_eq!(value.encode(), &quotas[..]);
}

#[test]
fn values_that_contradict_themselves_are_refused() {
    let partition = |text: &str| PartitionState::decode(id(1), PartitionIndex(0), text.as_bytes());
    let good = r#"{"version":1,"replicas":[1,2],"isr":[{"broker":1,"epoch":7}],"leader":1,"leader_epoch":0,"adding":[],"removing":[]}"#;
    assert!(partition(good).is_ok());
    for (from, to) in [
        ("[1,2]", "[]"),
        ("[1,2]", "[1,1]"),
        ("[1,2]", "[2]"),
        (r#""leader":1"#, r#""leader":2"#),
        (r#""leader_epoch":0"#, r#""leader_epoch":-1"#),
        (r#""adding":[]"#, r#""adding":[3]"#),
        (r#""leader":1"#, r#""leader":1.5"#),
    ] {
        assert!(partition(&good.replace(from, to)).is_err(), "{to}");
    }
    for bad in ["", "{}", "[]", "null", r#"{"version":1}"#, r#"{"version":-1}"#] {
        assert!(partition(bad).is_err(), "{bad}");
    }
    assert!(TopicValue::decode(id(1), br#"{"version":1,"name":"a","partitions":0,"configs":{}}"#).is_err());
    assert!(TopicValue::decode(id(1), br#"{"version":1,"name":"..","partitions":1,"configs":{}}"#).is_err());
    assert!(ProducerIdsValue::decode(br#"{"version":1,"next":-1}"#).is_err());
    assert!(ClusterValue::decode(br#"{"version":1,"cluster_id":"a/b"}"#).is_err());
    for bad in [r#"{"no_such_rate":1.0}"#, r#"{"producer_byte_rate":0.0}"#, r#"{"connection_creation_rate":1.0}"#] {
        let text = format!(r#"{{"version":1,"quotas":{bad}}}"#);
        assert!(QuotasValue::decode(&entity("user=a"), text.as_bytes()).unwrap().quotas.is_empty(), "{bad}");
    }
    assert!(QuotasValue::decode(&entity("user=a"), br#"{"version":1,"quotas":{"x":"fast"}}"#).is_err());
    let huge = vec![b' '; MAX_TRANSACTION_BYTES + 1];
    assert!(ClusterValue::decode(&huge).is_err());
}

fn states() -> impl Strategy<Value = PartitionState> {
    let nodes = prop::collection::btree_set(0i32..1000, 1..6).prop_map(Vec::from_iter);
    (nodes, any::<u8>(), any::<bool>(), 0i32.., any::<i64>()).prop_map(|(nodes, bits, leads, epoch, broker_epoch)| {
        let replicas: Vec<NodeId> = nodes.into_iter().map(NodeId).collect();
        let chosen = |shift: usize| replicas.iter().skip(usize::from(bits) >> shift & 1).copied();
        let isr: Vec<_> = chosen(0).map(|broker| IsrMember { broker, epoch: BrokerEpoch(broker_epoch) }).collect();
        PartitionState {
            leader: isr.first().filter(|_| leads).map(|member| member.broker),
            isr,
            leader_epoch: LeaderEpoch(epoch),
            adding: chosen(1).collect(),
            removing: chosen(2).collect(),
            replicas,
        }
    })
}

proptest! {
    #[test]
    fn partitions_read_back(state in states()) {
        let read = PartitionState::decode(id(1), PartitionIndex(0), &state.encode());
        prop_assert_eq!(read, Ok(state));
    }

    #[test]
    fn topics_read_back(text in "[a-zA-Z0-9_-]{1,40}", partitions in 1i32..=10_000, ms in -1i64.., list in any::<bool>()) {
        let mut pairs = configs(&[("retention.ms", &ms.to_string())]);
        if list {
            pairs.insert("tidelog.table.json.integers".into(), format!("{text},\"ä\\"));
        }
        let topic = TopicValue { name: name(&text), partitions, configs: TopicOverrides::new(pairs).unwrap() };
        prop_assert_eq!(TopicValue::decode(id(2), &topic.encode()), Ok(topic.clone()));
        let named = NameValue { topic: id(3) };
        prop_assert_eq!(NameValue::decode(&topic.name, &named.encode()), Ok(named));
        let deletion = DeletionValue { name: topic.name, partitions };
        prop_assert_eq!(DeletionValue::decode(id(2), &deletion.encode()), Ok(deletion));
        let key = Key::Partition(id(4), PartitionIndex(partitions));
        prop_assert_eq!(Key::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn numbers_read_back(next in 0i64.., cluster in "[a-zA-Z0-9_-]{1,64}", node in 0i32.., epoch in any::<i64>()) {
        let ids = ProducerIdsValue { next: ProducerId(next) };
        prop_assert_eq!(ProducerIdsValue::decode(&ids.encode()), Ok(ids));
        let cluster = ClusterValue { cluster_id: cluster };
        prop_assert_eq!(ClusterValue::decode(&cluster.encode()), Ok(cluster));
        let controller = ControllerValue { broker: NodeId(node), broker_epoch: BrokerEpoch(epoch) };
        prop_assert_eq!(ControllerValue::decode(&controller.encode()), Ok(controller));
        let broker = BrokerValue { incarnation: Uuid::from_u64_pair(next as u64, 1), rack: Some("r".into()), endpoints: vec![], http: None };
        prop_assert_eq!(BrokerValue::decode(NodeId(node), &broker.encode()), Ok(broker));
    }

    /// Whatever the bytes: an answer, no panic.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), key in ".{0,60}") {
        let _ = PartitionState::decode(id(1), PartitionIndex(0), &bytes);
        let _ = TopicValue::decode(id(1), &bytes);
        let _ = Key::parse(&key);
    }
}
