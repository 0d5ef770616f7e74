//! Access rules and users with passwords.

use std::time::Duration;

use tidelog_model::{
    AclBinding, AclOperation, KafkaError, Operation, PatternType, Permission, Principal, ResourceType, ScramCredential,
    ScramMechanism, Timestamp,
};
use uuid::Uuid;

use super::world::World;
use crate::decide::*;
use crate::image::ImageChange;
use crate::limits::MAX_DELEGATION_TOKENS_OF_ONE;
use crate::port::Outcome;

fn rule(name: &str, pattern: PatternType) -> AclBinding {
    AclBinding {
        resource: ResourceType::Topic,
        pattern,
        name: name.into(),
        principal: "User:alice".into(),
        host: "*".into(),
        operation: AclOperation::Only(Operation::Read),
        permission: Permission::Allow,
    }
}

fn literal(name: &str) -> AclBinding {
    rule(name, PatternType::Literal)
}

fn run(world: &mut World, mut plan: Plan) {
    while let Some(transaction) = plan.next() {
        let Outcome::Committed { revision } = world.txn(&transaction) else { panic!("a conflict") };
        plan.committed(revision);
    }
}

fn create(world: &mut World, rules: &[AclBinding]) {
    let rules: Vec<(Uuid, AclBinding)> = rules.iter().map(|rule| (Uuid::new_v4(), rule.clone())).collect();
    let plan = create_acls(&world.image, &rules).unwrap();
    run(world, plan);
}

#[test]
fn rules_exist_once_and_go_by_filter() {
    let mut world = World::with_brokers(1);
    create(&mut world, &[literal("a"), literal("a"), literal("b")]);
    assert_eq!(world.told, [ImageChange::Acls]);
    let revision = world.image.revision();
    create(&mut world, &[literal("a")]);
    assert_eq!((world.image.acl_count(), world.image.revision()), (2, revision));
    // More than a transaction holds.
    let many: Vec<AclBinding> = (0..250).map(|n| literal(&format!("many-{n}"))).collect();
    create(&mut world, &many);
    assert_eq!(world.image.acl_count(), 252);
    let only = |name: &str| AclFilter { name: Some(name.into()), ..AclFilter::ALL };
    let (found, plan) = delete_acls(&world.image, &[only("a"), only("none"), only("a")]);
    assert_eq!(found, [vec![literal("a")], vec![], vec![literal("a")]]);
    run(&mut world, plan);
    assert_eq!(world.told, [ImageChange::Acls]);
    let (found, plan) = delete_acls(&world.image, &[AclFilter::ALL]);
    assert_eq!(found[0].len(), 251);
    run(&mut world, plan);
    assert_eq!(world.image.acl_count(), 0);
}

#[test]
fn filters_meet_patterns_as_kafkas() {
    let rules = [literal("abc"), literal("*"), rule("ab", PatternType::Prefixed), rule("abc", PatternType::Prefixed)];
    let met = |pattern: PatternFilter, name: Option<&str>| -> Vec<usize> {
        let filter = AclFilter { pattern, name: name.map(str::to_string), ..AclFilter::ALL };
        (0..rules.len()).filter(|at| filter.matches(&rules[*at])).collect()
    };
    assert_eq!(met(PatternFilter::Any, None), [0, 1, 2, 3]);
    assert_eq!(met(PatternFilter::Any, Some("abc")), [0, 3]);
    assert_eq!(met(PatternFilter::Match, Some("abc")), [0, 1, 2, 3]);
    assert_eq!(met(PatternFilter::Match, Some("ab")), [1, 2]);
    assert_eq!(met(PatternFilter::Only(PatternType::Literal), Some("abc")), [0]);
    assert_eq!(met(PatternFilter::Only(PatternType::Prefixed), None), [2, 3]);
    let other = [
        AclFilter { resource: Some(ResourceType::Group), ..AclFilter::ALL },
        AclFilter { principal: Some("User:bob".into()), ..AclFilter::ALL },
        AclFilter { host: Some("10.0.0.1".into()), ..AclFilter::ALL },
        AclFilter { operation: Some(AclOperation::All), ..AclFilter::ALL },
        AclFilter { permission: Some(Permission::Deny), ..AclFilter::ALL },
    ];
    assert!(other.iter().all(|filter| !filter.matches(&rules[0])));
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let cluster = |name: &str| AclBinding { resource: ResourceType::Cluster, ..literal(name) };
    assert_eq!(check_acl(&literal("a")), Ok(()));
    assert_eq!(check_acl(&cluster("kafka-cluster")), Ok(()));
    for bad in [
        literal(""),
        cluster("other"),
        AclBinding { principal: "alice".into(), ..literal("a") },
        AclBinding { host: String::new(), ..literal("a") },
        literal(&"x".repeat(5000)),
    ] {
        assert_eq!(check_acl(&bad).unwrap_err().error, KafkaError::InvalidRequest, "{bad:?}");
    }
}

fn set(user: &str, mechanism: Option<ScramMechanism>) -> ScramChange {
    let length = mechanism.map_or(32, ScramMechanism::key_bytes);
    let credential =
        ScramCredential { salt: vec![1], stored_key: vec![2; length], server_key: vec![3; length], iterations: 4096 };
    ScramChange { user: user.into(), mechanism, credential: Some(Ok(credential)) }
}

fn remove(user: &str, mechanism: ScramMechanism) -> ScramChange {
    ScramChange { user: user.into(), mechanism: Some(mechanism), credential: None }
}

#[test]
fn one_refused_change_of_a_user_refuses_the_user_and_nobody_else() {
    const SHA256: ScramMechanism = ScramMechanism::Sha256;
    const SHA512: ScramMechanism = ScramMechanism::Sha512;
    let mut world = World::with_brokers(1);
    let mut alter = |changes: &[ScramChange]| -> Vec<(String, Option<KafkaError>)> {
        let (results, plan) = alter_scram(&world.image, changes);
        run(&mut world, plan);
        let users = world.image.scram_credentials().map(|(user, mechanism, _)| format!("{user} {}", mechanism.name()));
        let mut told: Vec<_> =
            results.into_iter().map(|(user, result)| (user, result.err().map(|e| e.error))).collect();
        told.extend(users.map(|user| (user, None)));
        told
    };
    let told = |pairs: &[(&str, Option<KafkaError>)]| -> Vec<(String, Option<KafkaError>)> {
        pairs.iter().map(|(user, error)| ((*user).to_string(), *error)).collect()
    };
    let changes = [set("a", Some(SHA256)), set("a", Some(SHA512)), set("b", Some(SHA256)), set("b", None)];
    let error = Some(KafkaError::UnsupportedSaslMechanism);
    assert_eq!(
        alter(&changes),
        told(&[("a", None), ("b", error), ("a SCRAM-SHA-256", None), ("a SCRAM-SHA-512", None)])
    );
    let twice = Some(KafkaError::DuplicateResource);
    assert_eq!(alter(&[set("c", Some(SHA256)), set("c", Some(SHA256))])[0], ("c".into(), twice));
    let missing = Some(KafkaError::ResourceNotFound);
    assert_eq!(alter(&[remove("c", SHA256)])[0], ("c".into(), missing));
    let weak = Refusal::new(KafkaError::UnacceptableCredential, "Too few iterations");
    let weak = ScramChange { credential: Some(Err(weak)), ..set("d", Some(SHA256)) };
    let unacceptable = Some(KafkaError::UnacceptableCredential);
    assert_eq!(alter(&[weak])[0].1, unacceptable);
    for name in [String::new(), "x".repeat(256), "a\nb".into()] {
        assert_eq!(alter(&[set(&name, Some(SHA256))])[0].1, unacceptable, "{name:?}");
    }
    let removed = alter(&[remove("a", SHA256), remove("a", SHA512)]);
    assert_eq!(removed, told(&[("a", None)]));
}

#[test]
fn one_owner_does_not_take_every_delegation_token() {
    let lifetimes = TokenLifetimes { max: Duration::from_millis(1000), renewal: Duration::from_millis(1000) };
    let mut world = World::with_brokers(1);
    let create = |world: &World, owner: &str, id: usize, now| {
        let new = NewToken {
            id: id.to_string(),
            owner: Principal::user(owner),
            requester: Principal::user("admin"),
            renewers: Vec::new(),
            max_lifetime_ms: -1,
        };
        create_token(&world.image, &new, lifetimes, Timestamp(now))
            .map(|(_, plan)| plan)
            .map_err(|refusal| refusal.error)
    };
    for id in 0..MAX_DELEGATION_TOKENS_OF_ONE {
        let plan = create(&world, "alice", id, 0).unwrap();
        run(&mut world, plan);
    }
    let next = MAX_DELEGATION_TOKENS_OF_ONE;
    assert_eq!(create(&world, "alice", next, 0).unwrap_err(), KafkaError::PolicyViolation);
    assert!(create(&world, "bob", next, 0).is_ok());
    assert!(create(&world, "alice", next, 1001).is_ok(), "those that are over do not count");
}

#[test]
fn a_delegation_token_lives_as_long_as_it_may_and_no_longer() {
    const DAY: i64 = 86_400_000;
    let lifetimes =
        TokenLifetimes { max: Duration::from_millis(7 * DAY as u64), renewal: Duration::from_millis(DAY as u64) };
    let user = Principal::user;
    let mut world = World::with_brokers(1);
    let new = |id: &str, max_lifetime_ms| NewToken {
        id: id.into(),
        owner: user("alice"),
        requester: user("admin"),
        renewers: vec![user("bob"), user("bob")],
        max_lifetime_ms,
    };
    for (id, asked, ends, expires) in
        [("a", -1, 7 * DAY, DAY), ("b", 3 * DAY, 3 * DAY, DAY), ("c", 1000, 1000, 1000), ("d", 99 * DAY, 7 * DAY, DAY)]
    {
        let (token, plan) = create_token(&world.image, &new(id, asked), lifetimes, Timestamp(0)).unwrap();
        assert_eq!((token.ends, token.expires, token.renewers.len()), (Timestamp(ends), Timestamp(expires), 1), "{id}");
        run(&mut world, plan);
    }
    let renew = |world: &World, id: &str, who: &str, period, now| {
        let renewed = renew_token(&world.image, id, &user(who), period, lifetimes, Timestamp(now));
        renewed.map(|(expires, plan)| (expires.get(), plan)).map_err(|refusal| refusal.error)
    };
    let error = |result: Result<(i64, Plan), KafkaError>| result.unwrap_err();
    assert_eq!(error(renew(&world, "x", "alice", -1, 0)), KafkaError::DelegationTokenNotFound);
    assert_eq!(error(renew(&world, "a", "carol", -1, 0)), KafkaError::DelegationTokenOwnerMismatch);
    assert_eq!(error(renew(&world, "a", "admin", -1, 0)), KafkaError::DelegationTokenOwnerMismatch, "who asked for it");
    assert_eq!(error(renew(&world, "c", "alice", -1, 1001)), KafkaError::DelegationTokenExpired);
    for (who, period, now, expires) in
        [("alice", -1, DAY, 2 * DAY), ("bob", 5000, DAY, DAY + 5000), ("bob", 99 * DAY, DAY, 2 * DAY)]
    {
        let (until, plan) = renew(&world, "a", who, period, now).unwrap();
        assert_eq!(until, expires, "{who} {period}");
        run(&mut world, plan);
    }
    // Never beyond its end.
    let (until, plan) = renew(&world, "b", "alice", -1, DAY).unwrap();
    assert_eq!(until, 2 * DAY);
    run(&mut world, plan);
    let (until, plan) = renew(&world, "b", "alice", -1, 2 * DAY).unwrap();
    assert_eq!(until, 3 * DAY, "and no longer");
    run(&mut world, plan);
    let expire = |world: &World, id: &str, who: &str, period, now| {
        let ended = expire_token(&world.image, id, &user(who), period, Timestamp(now));
        ended.map(|(expires, plan)| (expires.get(), plan)).map_err(|refusal| refusal.error)
    };
    assert_eq!(error(expire(&world, "d", "carol", -1, 0)), KafkaError::DelegationTokenOwnerMismatch);
    let (until, plan) = expire(&world, "d", "bob", 10, 5).unwrap();
    assert_eq!(until, 15);
    run(&mut world, plan);
    let (until, plan) = expire(&world, "a", "alice", -1, DAY).unwrap();
    assert_eq!(until, -1, "at once");
    run(&mut world, plan);
    assert_eq!(error(expire(&world, "a", "alice", -1, DAY)), KafkaError::DelegationTokenNotFound);
    // What is over goes.
    let left = |world: &World| world.image.delegation_tokens().map(|(id, _)| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(left(&world), ["b", "c", "d"]);
    let plan = sweep_tokens(&world.image, Timestamp(16));
    run(&mut world, plan);
    assert_eq!(left(&world), ["b", "c"]);
    let many = NewToken { renewers: (0..21).map(|n| user(&n.to_string())).collect(), ..new("e", -1) };
    let refused = create_token(&world.image, &many, lifetimes, Timestamp(0)).unwrap_err();
    assert_eq!(refused.error, KafkaError::PolicyViolation);
}
