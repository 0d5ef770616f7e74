use proptest::prelude::*;
use tidelog_model::{AclBinding, AclOperation, PatternType, Permission, Principal};

use super::*;

fn rule(
    permission: Permission,
    principal: &str,
    operation: AclOperation,
    pattern: PatternType,
    name: &str,
) -> AclBinding {
    AclBinding {
        resource: ResourceType::Topic,
        pattern,
        name: name.into(),
        principal: principal.into(),
        host: "*".into(),
        operation,
        permission,
    }
}

fn allow(operation: Operation, name: &str) -> AclBinding {
    rule(Permission::Allow, "User:alice", AclOperation::Only(operation), PatternType::Literal, name)
}

fn deny(operation: Operation, name: &str) -> AclBinding {
    AclBinding { permission: Permission::Deny, ..allow(operation, name) }
}

fn prefixed(binding: AclBinding) -> AclBinding {
    AclBinding { pattern: PatternType::Prefixed, ..binding }
}

fn caller(name: &str, host: &str) -> Caller {
    Caller {
        principal: Principal::user(name),
        host: host.parse().unwrap(),
        client_id: Arc::from("test"),
        door: Door::Kafka,
    }
}

fn authorizer(defaults: AclDefaults, rules: &[AclBinding]) -> AclAuthorizer {
    let authorizer = AclAuthorizer::new(defaults);
    authorizer.replace(AclSet::new(rules));
    authorizer
}

fn may(rules: &[AclBinding], operation: Operation, topic: &str) -> bool {
    authorizer(AclDefaults::default(), rules)
        .authorize(&caller("alice", "10.0.0.1"), operation, &Resource::Topic(topic))
        .is_allowed()
}

#[test]
fn without_a_rule_only_super_users_may() {
    assert!(!may(&[], Operation::Read, "t"));
    let defaults = AclDefaults { super_users: ["User:alice".into()].into(), allow_everyone: false };
    let authorizer = authorizer(defaults, &[deny(Operation::Read, "t")]);
    let asks =
        |who: &str| authorizer.authorize(&caller(who, "::1"), Operation::Read, &Resource::Topic("t")).is_allowed();
    assert!(asks("alice") && !asks("bob"));
    assert!(authorizer.authorize(&Caller::internal("x"), Operation::Alter, &Resource::Cluster).is_allowed());
}

#[test]
fn patterns_meet_names_as_kafkas() {
    assert!(may(&[allow(Operation::Read, "t")], Operation::Read, "t"));
    assert!(!may(&[allow(Operation::Read, "t")], Operation::Read, "t2"));
    assert!(!may(&[allow(Operation::Read, "t")], Operation::Write, "t"));
    assert!(may(&[allow(Operation::Read, "*")], Operation::Read, "t"));
    assert!(may(&[prefixed(allow(Operation::Read, "ab"))], Operation::Read, "ab"));
    assert!(may(&[prefixed(allow(Operation::Read, "ab"))], Operation::Read, "abc"));
    assert!(!may(&[prefixed(allow(Operation::Read, "ab"))], Operation::Read, "a"));
    // A prefix `*` is a star, no wildcard.
    assert!(!may(&[prefixed(allow(Operation::Read, "*"))], Operation::Read, "t"));
    // A prefix that ends inside a letter of the name meets nothing and cuts nothing.
    assert!(!may(&[prefixed(allow(Operation::Read, "abc"))], Operation::Read, "abä"));
}

#[test]
fn a_rule_that_denies_wins_wherever_it_stands() {
    for denied in [deny(Operation::Read, "ab"), deny(Operation::Read, "*"), prefixed(deny(Operation::Read, "a"))] {
        let rules =
            [allow(Operation::Read, "ab"), prefixed(allow(Operation::Read, "a")), allow(Operation::Read, "*"), denied];
        assert!(!may(&rules, Operation::Read, "ab"));
    }
}

#[test]
fn describe_follows_from_what_cannot_do_without_it() {
    use Operation::*;
    for given in [Read, Write, Delete, Alter, Describe] {
        assert!(may(&[allow(given, "t")], Describe, "t"), "{given}");
        assert_eq!(may(&[allow(Describe, "t"), deny(given, "t")], Describe, "t"), given != Describe, "{given}");
    }
    for given in [Create, DescribeConfigs, AlterConfigs] {
        assert!(!may(&[allow(given, "t")], Describe, "t"), "{given}");
    }
    assert!(may(&[allow(AlterConfigs, "t")], DescribeConfigs, "t"));
    assert!(!may(&[allow(Describe, "t")], DescribeConfigs, "t"));
    let all = rule(Permission::Allow, "User:alice", AclOperation::All, PatternType::Literal, "t");
    assert!(Operation::ALL.iter().all(|operation| may(std::slice::from_ref(&all), *operation, "t")));
}

#[test]
fn hosts_are_addresses() {
    let from = |rule_host: &str, host: &str| {
        let rules = [AclBinding { host: rule_host.into(), ..allow(Operation::Read, "t") }];
        let authorizer = authorizer(AclDefaults::default(), &rules);
        authorizer.authorize(&caller("alice", host), Operation::Read, &Resource::Topic("t")).is_allowed()
    };
    assert!(from("*", "10.0.0.1") && from("10.0.0.1", "10.0.0.1") && from("10.0.0.1", "::ffff:10.0.0.1"));
    assert!(from("0:0:0:0:0:0:0:1", "::1"));
    assert!(!from("10.0.0.2", "10.0.0.1") && !from("localhost", "127.0.0.1") && !from("10.0.0.0/8", "10.0.0.1"));
}

#[test]
fn everybody_may_touch_what_no_rule_is_about_if_the_operator_says_so() {
    let defaults = AclDefaults { allow_everyone: true, ..AclDefaults::default() };
    let authorizer =
        authorizer(defaults, &[rule(Permission::Allow, "User:bob", AclOperation::All, PatternType::Literal, "t")]);
    let asks = |topic: &str| {
        authorizer.authorize(&caller("alice", "::1"), Operation::Read, &Resource::Topic(topic)).is_allowed()
    };
    // A rule about the resource, if only for somebody else, ends the default.
    assert!(asks("other") && !asks("t"));
}

#[test]
fn any_resource_counts_unless_all_that_is_allowed_is_denied_too() {
    let any = |rules: &[AclBinding]| {
        let authorizer = authorizer(AclDefaults::default(), rules);
        authorizer.authorize_any(&caller("alice", "::1"), Operation::Write, ResourceType::Topic).is_allowed()
    };
    let (given, taken) = (|name| allow(Operation::Write, name), |name| deny(Operation::Write, name));
    assert!(!any(&[]) && !any(&[allow(Operation::Read, "t")]));
    assert!(any(&[given("t")]) && any(&[prefixed(given("a"))]) && any(&[given("*")]));
    assert!(!any(&[given("t"), taken("t")]) && any(&[given("t"), taken("u")]));
    assert!(!any(&[given("*"), taken("*")]) && any(&[given("*"), taken("t"), prefixed(taken("u"))]));
    assert!(!any(&[given("abc"), prefixed(taken("a"))]) && !any(&[prefixed(given("ab")), prefixed(taken("ab"))]));
    assert!(any(&[prefixed(given("a")), prefixed(taken("ab"))]));
}

/// Every rule in turn, as the documentation says it.
fn naive(rules: &[AclBinding], who: &str, host: &str, operation: Operation, topic: &str, everyone: bool) -> bool {
    let about: Vec<&AclBinding> = rules
        .iter()
        .filter(|rule| match rule.pattern {
            PatternType::Literal => rule.name == topic || rule.name == "*",
            PatternType::Prefixed => topic.starts_with(&rule.name),
        })
        .collect();
    if about.is_empty() {
        return everyone;
    }
    let mine = |rule: &&&AclBinding| {
        (rule.principal == "User:*" || rule.principal == format!("User:{who}"))
            && (rule.host == "*" || rule.host == host)
    };
    let exactly =
        |rule: &AclBinding| rule.operation == AclOperation::All || rule.operation == AclOperation::Only(operation);
    let implied = |rule: &AclBinding| {
        let names: &[&str] = match operation {
            Operation::Describe => &["READ", "WRITE", "DELETE", "ALTER"],
            Operation::DescribeConfigs => &["ALTER_CONFIGS"],
            _ => &[],
        };
        names.contains(&rule.operation.name())
    };
    let denied = about.iter().filter(mine).any(|rule| rule.permission == Permission::Deny && exactly(rule));
    let allowed =
        about.iter().filter(mine).any(|rule| rule.permission == Permission::Allow && (exactly(rule) || implied(rule)));
    allowed && !denied
}

fn rules() -> impl Strategy<Value = AclBinding> {
    let operation = (2i8..=15).prop_map(|code| AclOperation::from_code(code).unwrap());
    (
        prop_oneof![Just(Permission::Allow), Just(Permission::Allow), Just(Permission::Deny)],
        prop_oneof![Just("User:alice"), Just("User:bob"), Just("User:*")],
        prop_oneof![Just("*"), Just("10.0.0.1"), Just("10.0.0.2")],
        operation,
        any::<bool>(),
        "[ab*]{1,3}|\\*",
    )
        .prop_map(|(permission, principal, host, operation, literal, name)| {
            let pattern = if literal { PatternType::Literal } else { PatternType::Prefixed };
            AclBinding { host: host.into(), ..rule(permission, principal, operation, pattern, &name) }
        })
}

proptest! {
    #[test]
    fn the_index_says_what_every_rule_in_turn_says(
        rules in prop::collection::vec(rules(), 0..12),
        topic in "[ab*]{1,3}",
        alice in any::<bool>(),
        first in any::<bool>(),
        everyone in any::<bool>(),
    ) {
        let (who, host) = (if alice { "alice" } else { "bob" }, if first { "10.0.0.1" } else { "10.0.0.2" });
        let authorizer = authorizer(AclDefaults { allow_everyone: everyone, ..AclDefaults::default() }, &rules);
        for operation in Operation::ALL {
            let said = authorizer.authorize(&caller(who, host), *operation, &Resource::Topic(&topic)).is_allowed();
            prop_assert_eq!(said, naive(&rules, who, host, *operation, &topic, everyone), "{}", operation);
            if said && !everyone && rules.iter().any(|rule| rule.operation == AclOperation::Only(*operation)) {
                // Whoever may do it to this topic may do it to some topic.
                let exact = !matches!(operation, Operation::Describe | Operation::DescribeConfigs);
                let any = authorizer.authorize_any(&caller(who, host), *operation, ResourceType::Topic).is_allowed();
                prop_assert!(any || !exact, "{}", operation);
            }
        }
    }
}
