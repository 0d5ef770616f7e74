use tidelog_model::{KafkaError, NodeId, PartitionIndex};

use super::world::{World, given, new_topic};
use crate::decide::*;
use crate::image::ImageChange;
use crate::keys::{Key, TopicValue};
use crate::port::{Outcome, Transaction, Write};
use crate::topic_config::{KeyFormat, TopicConfig, TopicOverrides};

fn change(operation: ConfigOperation, name: &str, value: Option<&str>) -> ConfigChange {
    ConfigChange { name: name.into(), operation, value: value.map(str::to_string) }
}

fn alter(world: &mut World, changes: &[ConfigChange]) -> Result<bool, Refusal> {
    edit(world, &ConfigEdit::Change(changes.to_vec()))
}

fn edit(world: &mut World, edit: &ConfigEdit) -> Result<bool, Refusal> {
    let transaction = alter_topic_configs(&world.image, world.settings(), "t", edit, None)?;
    let Some(transaction) = transaction else { return Ok(false) };
    assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
    Ok(true)
}

fn configs(world: &World) -> String {
    let topic = world.image.topic("t").unwrap();
    topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn settings_are_set_removed_appended_and_subtracted() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    let id = world.create(new_topic("t", 2));
    assert_eq!(alter(&mut world, &[change(Set, "retention.ms", Some("5"))]), Ok(true));
    assert_eq!(world.told, [ImageChange::Topic(id)]);
    assert_eq!(configs(&world), "retention.ms=5");
    // A list that is not set starts from its default, delete.
    assert_eq!(alter(&mut world, &[change(Append, "cleanup.policy", Some("compact,delete"))]), Ok(true));
    assert_eq!(configs(&world), "cleanup.policy=delete,compact retention.ms=5");
    let two = [change(Subtract, "cleanup.policy", Some("delete")), change(Delete, "retention.ms", None)];
    assert_eq!(alter(&mut world, &two), Ok(true));
    assert_eq!(configs(&world), "cleanup.policy=compact");
    assert_eq!(alter(&mut world, &[change(Set, "cleanup.policy", Some("compact"))]), Ok(false));
    let spaced =
        [change(Set, "cleanup.policy", Some(" delete , compact,delete")), change(Set, "segment.ms", Some(" 7 "))];
    assert_eq!(alter(&mut world, &spaced), Ok(true));
    assert_eq!(configs(&world), "cleanup.policy=delete,compact segment.ms=7", "as Kafka shows them");
    let back = [change(Subtract, "cleanup.policy", Some(" delete ")), change(Delete, "segment.ms", None)];
    assert_eq!(alter(&mut world, &back), Ok(true));
    assert_eq!(configs(&world), "cleanup.policy=compact");
    assert_eq!(alter(&mut world, &[change(Delete, "retention.ms", None)]), Ok(false));
    assert_eq!(world.image.topic("t").unwrap().partitions().count(), 2);
}

#[test]
fn a_replacement_leaves_only_what_it_names() {
    let mut world = World::with_brokers(1);
    world.create(NewTopic { configs: given(&[("retention.ms", "1"), ("segment.ms", "2")]), ..new_topic("t", 1) });
    let replace = |values: &[(&str, Option<&str>)]| {
        ConfigEdit::Replace(values.iter().map(|(k, v)| ((*k).to_string(), v.map(str::to_string))).collect())
    };
    assert_eq!(edit(&mut world, &replace(&[("segment.ms", Some("3"))])), Ok(true));
    assert_eq!(configs(&world), "segment.ms=3");
    for (bad, error) in [
        (replace(&[("segment.ms", None)]), KafkaError::InvalidRequest),
        (replace(&[("segment.ms", Some("1")), ("segment.ms", Some("1"))]), KafkaError::InvalidRequest),
        (replace(&[("segment.mss", Some("1"))]), KafkaError::InvalidConfig),
        (replace(&[("segment.ms", Some("x"))]), KafkaError::InvalidConfig),
    ] {
        assert_eq!(edit(&mut world, &bad).unwrap_err().error, error, "{bad:?}");
        assert_eq!(configs(&world), "segment.ms=3");
    }
    assert_eq!(edit(&mut world, &replace(&[])), Ok(true));
    assert_eq!(configs(&world), "");
}

#[test]
fn a_refused_change_changes_nothing() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    let good = || change(Set, "retention.ms", Some("5"));
    for (bad, error) in [
        (change(Set, "retention.mss", Some("5")), KafkaError::InvalidConfig),
        (change(Subtract, "no.such.list", Some("5")), KafkaError::InvalidConfig),
        (change(Append, "no.such.list", Some("5")), KafkaError::InvalidConfig),
        (change(Append, "segment.bytes", Some("5")), KafkaError::InvalidConfig),
        (change(Set, "segment.bytes", Some("5")), KafkaError::InvalidConfig),
        (change(Set, "segment.bytes", None), KafkaError::InvalidRequest),
        (change(Set, "retention.ms", Some("6")), KafkaError::InvalidRequest),
    ] {
        let shown = format!("{bad:?}");
        let refusal = alter(&mut world, &[good(), bad]).unwrap_err();
        assert_eq!(refusal.error, error, "{shown}: {refusal}");
    }
    assert_eq!(configs(&world), "");
    for (name, error) in [("u", KafkaError::UnknownTopicOrPartition), ("", KafkaError::InvalidRequest)] {
        let refused =
            alter_topic_configs(&world.image, world.settings(), name, &vec![good()].into(), None).unwrap_err();
        assert_eq!(refused.error, error);
    }
    assert_eq!(alter(&mut world, &[change(Delete, "retention.mss", None)]), Ok(false), "nobody has set it");
}

#[test]
fn what_another_version_stored_is_mended_or_left_alone() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    let topic = world.image.topic("t").unwrap().clone();
    let texts = [("cleanup.policy", "delete,shred"), ("no.such.key", "1"), ("segment.bytes", "5")];
    let stored = TopicOverrides::stored(texts.map(|(name, value)| (name.to_string(), value.to_string())));
    let value = TopicValue { name: topic.name.clone(), partitions: 1, configs: stored };
    let write = Write::put(Key::Topic(topic.id), value.encode());
    world.txn(&Transaction { compares: vec![], writes: vec![write] });
    let unfit = |world: &World| {
        let topic = world.image.topic("t").unwrap();
        topic.configs.unfit().map(|(name, unfit)| format!("{name}={}", unfit.value)).collect::<Vec<_>>().join(" ")
    };
    // Another setting is changed: they stay.
    assert_eq!(alter(&mut world, &[change(Set, "retention.ms", Some("5"))]), Ok(true));
    assert_eq!(unfit(&world), "cleanup.policy=delete,shred no.such.key=1 segment.bytes=5");
    // What is touched is checked.
    for bad in [
        change(Set, "segment.bytes", Some("5")),
        change(Set, "no.such.key", Some("1")),
        change(Append, "cleanup.policy", Some("compact")),
    ] {
        assert_eq!(alter(&mut world, &[bad]).unwrap_err().error, KafkaError::InvalidConfig);
    }
    let mend = [
        change(Subtract, "cleanup.policy", Some("shred")),
        change(Delete, "no.such.key", None),
        change(Set, "segment.bytes", Some("2000000")),
    ];
    assert_eq!(alter(&mut world, &mend), Ok(true));
    assert_eq!(unfit(&world), "");
    assert_eq!(configs(&world), "cleanup.policy=delete retention.ms=5 segment.bytes=2000000");
}

#[test]
fn what_decides_types_of_columns_cannot_change_under_a_table() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    let integers = |fields| change(Set, "tidelog.table.json.integers", Some(fields));
    assert_eq!(alter(&mut world, &[integers("id")]), Ok(true), "no table yet");
    let enable = change(Set, "tidelog.table.enable", Some("true"));
    assert_eq!(alter(&mut world, &[integers("id,n"), enable]), Ok(true), "it begins with them");
    let refused = alter(&mut world, &[integers("id"), change(Set, "retention.ms", Some("5"))]).unwrap_err();
    assert_eq!(refused.error, KafkaError::InvalidConfig);
    assert_eq!(alter(&mut world, &[integers("id,n"), change(Set, "retention.ms", Some("5"))]), Ok(true));
}

#[test]
fn the_key_of_a_table_that_has_files_stays_what_it_is() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    let key = |value| change(Set, "tidelog.table.key.format", Some(value));
    let enable = change(Set, "tidelog.table.enable", Some("true"));
    alter(&mut world, &[enable]).unwrap();
    let would = |world: &World, edit: &[ConfigChange], fixed| {
        let edited = alter_topic_configs(&world.image, world.settings(), "t", &edit.to_vec().into(), fixed);
        edited.map(|transaction| transaction.is_some())
    };
    assert_eq!(would(&world, &[key("string")], None), Ok(true), "it has no file");
    let refused = would(&world, &[key("string")], Some(KeyFormat::Binary)).unwrap_err();
    assert_eq!(refused.error, KafkaError::InvalidConfig);
    assert!(
        refused.message.contains("can only be binary") && refused.message.contains("new topic"),
        "{}",
        refused.message
    );
    assert_eq!(would(&world, &[change(Set, "retention.ms", Some("5"))], Some(KeyFormat::Binary)), Ok(true));
    // Set before it could be refused: it may stay, and be taken back.
    alter(&mut world, &[key("string")]).unwrap();
    assert_eq!(would(&world, &[change(Set, "retention.ms", Some("5"))], Some(KeyFormat::Binary)), Ok(true));
    assert_eq!(would(&world, &[key("binary")], Some(KeyFormat::Binary)), Ok(true));
}

#[test]
fn a_tiered_topic_stays_deletable_and_its_remote_part_is_not_forgotten() {
    use ConfigOperation::*;
    for by_default in [true, false] {
        let mut world = World::with_brokers(1);
        let mut request = new_topic("t", 1);
        if by_default {
            world.defaults = world.defaults.clone().with_remote_storage(true);
        } else {
            request.configs = given(&[("remote.storage.enable", "true")]);
        }
        world.create(request);
        let would = |world: &World, edit: &[ConfigChange]| {
            let edited = alter_topic_configs(&world.image, world.settings(), "t", &edit.to_vec().into(), None);
            edited.map(|transaction| transaction.is_some()).map_err(|refusal| refusal.error)
        };
        let given_up = |world: &World| {
            TopicConfig::effective(&world.image.topic("t").unwrap().configs, &world.defaults).remote_log_given_up
        };
        let compact = change(Append, "cleanup.policy", Some("compact"));
        let off = change(Set, "remote.storage.enable", Some("false"));
        let default = change(Delete, "remote.storage.enable", None);
        for changes in [vec![compact.clone()], vec![off.clone()], vec![off.clone(), compact.clone()]] {
            // Who never asked for the tier may leave it: what is remote stays readable.
            let expected = if by_default { Ok(true) } else { Err(KafkaError::InvalidConfig) };
            assert_eq!(would(&world, &changes), expected, "{changes:?}");
        }
        if !by_default {
            let refused = alter(&mut world, &[default, compact.clone()]).unwrap_err();
            assert!(refused.message.contains("remote.log.delete.on.disable=true"), "{}", refused.message);
        }
        let delete = change(Set, "remote.log.delete.on.disable", Some("true"));
        assert_eq!(alter(&mut world, &[delete]), Ok(true));
        assert!(!given_up(&world), "not alone");
        assert_eq!(alter(&mut world, &[off]), Ok(true));
        assert!(given_up(&world));
        assert_eq!(alter(&mut world, &[compact]), Ok(true));
    }
}

#[test]
fn broker_settings_change_for_one_or_all() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    let mut alter = |node, changes: &[ConfigChange]| -> Result<bool, Refusal> {
        let transaction = alter_broker_configs(&world.image, world.settings(), node, &changes.to_vec().into())?;
        let Some(transaction) = transaction else { return Ok(false) };
        assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        Ok(true)
    };
    let set = |value: &str| change(Set, "log.segment.bytes", Some(value));
    assert_eq!(alter(None, &[set("2000000")]), Ok(true));
    assert_eq!(alter(Some(NodeId(1)), &[set("3000000")]), Ok(true));
    assert_eq!(alter(Some(NodeId(1)), &[set("3000000")]), Ok(false));
    assert_eq!(alter(Some(NodeId(2)), &[set("3000000")]).unwrap_err().error, KafkaError::InvalidRequest);
    let of_nobody = ("listener.name.nobody.max.connections", "5");
    for (name, value) in [("num.partitions", "2"), ("log.segment.bytes", "x"), ("no.such.setting", "x"), of_nobody] {
        let refused = alter(None, &[change(Set, name, Some(value))]).unwrap_err();
        assert_eq!(refused.error, KafkaError::InvalidRequest, "{name}: Kafka's code for what a broker does not take");
    }
    for name in ["listener.name.http.ssl.keystore.location", "cordoned.log.dirs"] {
        let value = if name == "cordoned.log.dirs" { "" } else { "/x.pem" };
        let refused = alter(None, &[change(Set, name, Some(value))]).unwrap_err();
        assert!(refused.message.ends_with(&format!("broker id must be specified: [{name}]")), "{}", refused.message);
        assert_eq!(alter(Some(NodeId(1)), &[change(Set, name, Some(value))]), Ok(true));
        assert_eq!(alter(Some(NodeId(1)), &[change(Delete, name, None)]), Ok(true));
    }
    // In steps, for one broker and for all.
    let threads = |count: &str| change(Set, "listener.name.http.num.network.threads", Some(count));
    assert_eq!(alter(None, &[threads("7")]).unwrap_err().error, KafkaError::InvalidRequest);
    assert_eq!(alter(None, &[threads("6")]), Ok(true));
    assert_eq!(alter(Some(NodeId(1)), &[threads("12")]), Ok(true));
    assert_eq!(alter(None, &[threads("4")]), Ok(true), "no broker has other threads by that");
    assert!(alter(Some(NodeId(1)), &[change(Delete, "listener.name.http.num.network.threads", None)]).is_err());
    assert_eq!(alter(Some(NodeId(1)), &[threads("6")]), Ok(true));
    for node in [Some(NodeId(1)), None] {
        assert_eq!(alter(node, &[change(Delete, "listener.name.http.num.network.threads", None)]), Ok(true));
    }
    assert_eq!(alter(None, &[change(Delete, "log.segment.bytes", None)]), Ok(true));
    let of_http = |operation| change(operation, "listener.name.http.max.connections", Some("5"));
    assert_eq!(alter(None, &[of_http(Set)]), Ok(true));
    assert_eq!(alter(None, &[of_http(Delete)]), Ok(true));
    assert!(world.image.broker_configs(None).is_none());
    let left = world.image.broker_configs(Some(NodeId(1))).unwrap();
    assert_eq!(left.value.get("log.segment.bytes"), Some("3000000"));
}

#[test]
fn group_settings_change_whether_there_is_a_group_or_not() {
    use ConfigOperation::*;
    const SESSION: &str = "consumer.session.timeout.ms";
    let mut world = World::with_brokers(1);
    let mut alter = |group: &str, changes: &[ConfigChange]| -> Result<bool, KafkaError> {
        let edit = changes.to_vec().into();
        let transaction = alter_group_configs(&world.image, world.settings().broker, group, &edit);
        let Some(transaction) = transaction.map_err(|refusal| refusal.error)? else { return Ok(false) };
        assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        Ok(true)
    };
    let set = |value: &str| change(Set, SESSION, Some(value));
    assert_eq!(alter("g/1", &[set("50000")]), Ok(true));
    assert_eq!(alter("g/1", &[set("50000")]), Ok(false));
    for refused in [set("x"), set("1000"), change(Set, "share.session.timeout.ms", Some("5000"))] {
        assert_eq!(alter("g/1", &[refused]), Err(KafkaError::InvalidConfig));
    }
    assert_eq!(alter("", &[set("50000")]), Err(KafkaError::InvalidRequest));
    assert_eq!(alter("a\nb", &[set("50000")]), Err(KafkaError::InvalidRequest));
    assert_eq!(alter(&"g".repeat(256), &[set("50000")]), Err(KafkaError::InvalidRequest));
    assert_eq!(alter("h", &[set("50000")]), Ok(true));
    assert_eq!(alter("h", &[change(Delete, SESSION, None)]), Ok(true));
    assert_eq!(world.image.configured_groups().collect::<Vec<_>>(), ["g/1"]);
    assert_eq!(world.image.group_configs("g/1").unwrap().value.get(SESSION), Some("50000"));
}

#[test]
fn subscriptions_to_clients_metrics_come_and_go() {
    use ConfigOperation::*;
    let mut world = World::with_brokers(1);
    let mut alter = |name: &str, changes: &[ConfigChange]| -> Result<bool, KafkaError> {
        let transaction = alter_client_metrics(&world.image, name, &changes.to_vec().into());
        let Some(transaction) = transaction.map_err(|refusal| refusal.error)? else { return Ok(false) };
        assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        Ok(true)
    };
    let interval = |value: &str| change(Set, "interval.ms", Some(value));
    let patterns = change(Set, "match", Some("client_id=a.*"));
    assert_eq!(alter("a b", &[interval(" 1000 "), patterns]), Ok(true));
    assert_eq!(alter("a b", &[interval("1000")]), Ok(false));
    for (refused, error) in [
        (interval("99"), KafkaError::InvalidRequest),
        (interval("x"), KafkaError::InvalidConfig),
        (change(Set, "match", Some("nope=a")), KafkaError::InvalidConfig),
        (change(Set, "foo", Some("1")), KafkaError::InvalidRequest),
    ] {
        assert_eq!(alter("a b", &[refused]), Err(error));
    }
    assert_eq!(alter("", &[interval("1000")]), Err(KafkaError::InvalidRequest));
    assert_eq!(alter(&"n".repeat(256), &[interval("1000")]), Err(KafkaError::InvalidRequest));
    assert_eq!(alter("other", &[interval("1000")]), Ok(true));
    assert_eq!(alter("other", &[change(Delete, "interval.ms", None), change(Delete, "foo", None)]), Ok(true));
    assert_eq!(world.image.client_metrics_names().collect::<Vec<_>>(), ["a b"]);
    let stored = world.image.client_metrics("a b").unwrap().value.texts();
    assert_eq!(stored, [("interval.ms", "1000"), ("match", "client_id=a.*")].map(|(k, v)| (k.into(), v.into())).into());
}

#[test]
fn a_level_that_was_lowered_holds_until_it_is_raised() {
    use crate::features::{FEATURES, FeatureChange, GROUP_VERSION};
    let mut world = World::with_brokers(1);
    let feature = FEATURES.iter().find(|feature| feature.name == GROUP_VERSION).unwrap();
    let mut update = |level, change| -> Result<bool, KafkaError> {
        let updates = [(GROUP_VERSION.to_owned(), level, Some(change))];
        let transaction = update_features(&world.image, &updates).map_err(|refusal| refusal.error)?;
        let Some(transaction) = transaction else { return Ok(false) };
        assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        assert_eq!(world.told, [ImageChange::Features]);
        assert_eq!(world.image.feature_level(feature), level);
        Ok(true)
    };
    assert_eq!(update(1, FeatureChange::Upgrade), Ok(false));
    assert_eq!(update(0, FeatureChange::Upgrade), Err(KafkaError::InvalidUpdateVersion));
    assert_eq!(update(0, FeatureChange::Downgrade), Ok(true));
    assert_eq!(update(0, FeatureChange::Downgrade), Ok(false));
    assert_eq!(update(1, FeatureChange::Upgrade), Ok(true));
    assert!(world.image.features().is_none());
}

#[test]
fn partitions_only_grow() {
    let mut world = World::with_brokers(2);
    world.create(NewTopic { replication_factor: 2, ..new_topic("t", 3) });
    let error = |world: &World, name, count, lists: Option<&[Vec<NodeId>]>| {
        create_partitions(&world.image, name, count, lists).unwrap_err().error
    };
    assert_eq!(error(&world, "u", 4, None), KafkaError::UnknownTopicOrPartition);
    for count in [3, 2, 0, -1, 10_001] {
        assert_eq!(error(&world, "t", count, None), KafkaError::InvalidPartitions);
    }
    let one = [vec![NodeId(1), NodeId(2)]];
    assert_eq!(error(&world, "t", 5, Some(&one)), KafkaError::InvalidReplicaAssignment);
    assert_eq!(error(&world, "t", 4, Some(&[vec![NodeId(1)]])), KafkaError::InvalidReplicaAssignment);
    let plan = create_partitions(&world.image, "t", 4, Some(&one)).unwrap();
    // Two administrators at once: the second decides again.
    let other = create_partitions(&world.image, "t", 7, None).unwrap();
    assert!(world.run(plan));
    assert!(!world.run(other));
    let topic = world.image.topic("t").unwrap();
    assert_eq!(topic.partition_count, 4);
    assert_eq!(topic.partition(PartitionIndex(3)).unwrap().state.replicas, one[0]);
}

#[test]
fn producer_id_blocks_never_overlap() {
    let mut world = World::with_brokers(1);
    let mut end = 0;
    for _ in 0..3 {
        let (transaction, block) = reserve_producer_ids(&world.image).unwrap();
        // Somebody who decided on the same image loses.
        let (late, _) = reserve_producer_ids(&world.image).unwrap();
        assert_eq!((block.first.get(), block.end.get()), (end, end + 1000));
        assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        assert!(matches!(world.txn(&late), Outcome::Conflict { .. }));
        end = block.end.get();
    }
}
