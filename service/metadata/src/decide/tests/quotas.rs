use bytes::Bytes;
use tidelog_model::{KafkaError, QuotaEntity, QuotaKind};

use super::world::World;
use crate::decide::*;
use crate::keys::Key;
use crate::port::{Outcome, Transaction, Write};

fn alter(world: &mut World, entity: &QuotaEntity, changes: &[(&str, Option<f64>)]) -> Result<bool, Refusal> {
    let changes: Vec<_> = changes.iter().map(|(name, value)| ((*name).to_string(), *value)).collect();
    let Some(transaction) = alter_quotas(&world.image, entity, &changes)? else { return Ok(false) };
    assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
    Ok(true)
}

#[test]
fn quotas_are_set_changed_and_removed() {
    let mut world = World::with_brokers(1);
    let alice: QuotaEntity = "user=alice".parse().unwrap();
    let both = [("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(12.5))];
    assert_eq!(alter(&mut world, &alice, &both), Ok(true));
    assert_eq!(alter(&mut world, &alice, &both), Ok(false));
    assert_eq!(alter(&mut world, &alice, &[("producer_byte_rate", None)]), Ok(true));
    let left: Vec<_> = world.image.quotas()[&alice].clone().into_iter().collect();
    assert_eq!(left, [(QuotaKind::RequestPercentage, 12.5)]);
    assert_eq!(alter(&mut world, &alice, &[("request_percentage", None), ("producer_byte_rate", None)]), Ok(true));
    assert!(world.image.quotas().is_empty());
    assert!(!world.map.keys().any(|key| key.starts_with("quotas/")), "an entity without quotas leaves nothing");
}

#[test]
fn a_quota_that_makes_no_sense_is_refused_whole() {
    let mut world = World::with_brokers(1);
    let (user, ip): (QuotaEntity, QuotaEntity) = ("user=*".parse().unwrap(), "ip=*".parse().unwrap());
    let long: QuotaEntity = format!("user={}", "x".repeat(600)).parse().unwrap();
    let good = ("producer_byte_rate", Some(1.0));
    for (entity, changes) in [
        (&user, vec![good, ("no_such_rate", Some(1.0))]),
        (&user, vec![good, ("no_such_rate", None)]),
        (&user, vec![good, ("consumer_byte_rate", Some(1.5))]),
        (&user, vec![good, ("consumer_byte_rate", Some(0.0))]),
        (&user, vec![good, good]),
        (&user, vec![good, ("connection_creation_rate", Some(1.0))]),
        (&ip, vec![good]),
        (&long, vec![good]),
    ] {
        let refused = alter(&mut world, entity, &changes).unwrap_err();
        assert_eq!(refused.error, KafkaError::InvalidRequest, "{entity} {changes:?}");
    }
    assert!(world.image.quotas().is_empty());
}

/// An update must not keep a broker from starting, and what nobody knows can be removed.
#[test]
fn a_quota_that_another_version_took_is_kept_without_effect_until_it_is_changed() {
    let mut world = World::with_brokers(1);
    let alice: QuotaEntity = "user=alice".parse().unwrap();
    let stored = br#"{"version":1,"quotas":{"no_such_rate":7.0,"producer_byte_rate":-1.0}}"#;
    let write = Write::put(Key::Quotas(alice.clone()), Bytes::from_static(stored));
    assert!(matches!(world.txn(&Transaction { compares: vec![], writes: vec![write] }), Outcome::Committed { .. }));
    assert!(world.image.quotas().is_empty(), "nothing of it holds");
    let names = |world: &World| world.image.quotas_of(&alice).map(|stored| stored.value.stored().into_keys().collect());
    let both: Option<Vec<String>> = Some(vec!["no_such_rate".into(), "producer_byte_rate".into()]);
    assert_eq!(names(&world), both);
    assert_eq!(alter(&mut world, &alice, &[("producer_byte_rate", Some(9.0))]), Ok(true));
    assert_eq!((world.image.quotas()[&alice].len(), names(&world)), (1, both));
    assert!(alter(&mut world, &alice, &[("no_such_rate", Some(1.0))]).is_err());
    assert_eq!(alter(&mut world, &alice, &[("no_such_rate", None), ("producer_byte_rate", None)]), Ok(true));
    assert_eq!(names(&world), None);
}
