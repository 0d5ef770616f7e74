//! Names of Kafka's `server.properties` that are no settings of ours: which of our options does the same, or why none does. It knows
//! names only, never values.

/// What to do instead of a setting of this name, if it is one of Kafka's.
pub(super) fn advice(name: &str) -> Option<String> {
    let (_, instead) = TABLE.iter().find(|(pattern, _)| fits(pattern, name))?;
    let elsewhere = if *instead == ONE_NODE { "" } else { " that has another place here" };
    Some(format!("{name} is a setting of Kafka's{elsewhere}: {instead}"))
}

/// A trailing `*` stands for any end.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

const ONE_NODE: &str = "it has no meaning on one node and can be left out";

const NO_JAVA: &str = "there are no plug-ins of Java";

const TABLE: &[(&str, &str)] = &[
    ("listeners", "--kafka-listen (kafka.listen)"),
    ("port", "--kafka-listen (kafka.listen)"),
    ("host.name", "--kafka-listen (kafka.listen)"),
    ("advertised.listeners", "--kafka-advertise (kafka.advertise)"),
    ("advertised.host.name", "--kafka-advertise (kafka.advertise)"),
    ("advertised.port", "--kafka-advertise (kafka.advertise)"),
    ("listener.security.protocol.map", "the protocol stands in --kafka-listen NAME=PROTOCOL://ADDRESS:PORT"),
    (
        "listener.name.*",
        "a listener has max.connections and max.connection.creation.rate of its own; all other options hold for all listeners",
    ),
    ("security.inter.broker.protocol", ONE_NODE),
    ("inter.broker.*", ONE_NODE),
    ("log.dir", "--data-dir (data_dir)"),
    ("log.dirs", "--data-dir (data_dir), one directory"),
    ("metadata.log.dir", "the metadata lies in --data-dir (data_dir)"),
    ("node.id", "--node-id (node_id)"),
    ("broker.id", "--node-id (node_id)"),
    ("broker.id.*", ONE_NODE),
    ("broker.rack", ONE_NODE),
    ("process.roles", ONE_NODE),
    ("controller.*", ONE_NODE),
    ("zookeeper.*", "there is no ZooKeeper; it can be left out"),
    ("authorizer.class.name", "--authorizer acl (auth.authorizer)"),
    ("super.users", "--super-user (auth.super_users)"),
    ("allow.everyone.if.no.acl.found", "--allow-everyone-if-no-acl-found (auth.allow_everyone_if_no_acl_found)"),
    ("sasl.enabled.mechanisms", "--kafka-sasl-mechanism (kafka.sasl_mechanisms)"),
    ("sasl.mechanism.inter.broker.protocol", ONE_NODE),
    ("sasl.oauthbearer.*", "tokens are verified by --jwt-secret-env or --jwt-jwks"),
    (
        "sasl.*",
        "users have SCRAM passwords (`tidelog user create`), tokens are verified by --jwt-secret-env or --jwt-jwks",
    ),
    ("ssl.keystore.*", "--tls-cert and --tls-key (tls.cert, tls.key), PEM files"),
    ("ssl.key.password", "--tls-key (tls.key), a PEM file without a password"),
    ("ssl.truststore.*", "--kafka-tls-client-ca (kafka.tls.client_ca), a PEM file"),
    ("ssl.client.auth", "--kafka-tls-client-auth (kafka.tls.client_auth)"),
    ("ssl.principal.mapping.rules", "--kafka-tls-principal-rules (kafka.tls.principal_rules)"),
    ("ssl.*", "TLS 1.2 and 1.3 with safe ciphers are always what is offered"),
    ("remote.log.storage.*", "--object-store (store.url)"),
    ("remote.log.metadata.*", "--object-store (store.url) holds it too"),
    ("early.start.listeners", ONE_NODE),
    ("connection.failed.authentication.delay.ms", "it has no counterpart and can be left out"),
    ("principal.builder.class", NO_JAVA),
    ("security.providers", NO_JAVA),
    ("alter.config.policy.class.name", NO_JAVA),
    ("create.topic.policy.class.name", NO_JAVA),
    ("client.quota.callback.class", NO_JAVA),
    ("config.providers*", "options whose names end in _env take secrets from the environment"),
];

/// Does a file that is no TOML read as Kafka's `server.properties`? Then the lines with names that have another place, and what that is.
pub(super) fn properties(text: &str, is_setting: impl Fn(&str) -> bool) -> Option<Vec<(usize, String)>> {
    let mut found = Vec::new();
    let mut of_kafka = 0usize;
    for (at, line) in text.lines().enumerate() {
        let Some((name, _)) = line.split_once('=') else { continue };
        let name = name.trim();
        match advice(name) {
            _ if is_setting(name) => of_kafka += 1,
            Some(advice) => {
                of_kafka += 1;
                found.push((at + 1, advice));
            }
            None => {}
        }
    }
    (of_kafka > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use tidelog_metadata::broker_config::{BROKER_FACTS, ELSEWHERE, broker_config};

    use super::*;

    #[test]
    fn names_of_kafka_lead_to_ours() {
        for (name, part) in [
            ("listeners", "--kafka-listen"),
            ("log.dirs", "--data-dir"),
            ("controller.quorum.voters", "one node"),
            ("zookeeper.connect", "ZooKeeper"),
            ("ssl.keystore.location", "--tls-cert"),
        ] {
            assert!(advice(name).is_some_and(|advice| advice.contains(part)), "{name}");
        }
        assert_eq!((advice("listener"), advice("num.partition")), (None, None));
    }

    #[test]
    fn what_cannot_be_set_under_its_name_has_an_advice() {
        for def in ELSEWHERE.iter().chain(BROKER_FACTS) {
            assert!(advice(def.name).is_some(), "{}", def.name);
        }
    }

    #[test]
    fn no_setting_of_ours_is_in_the_table() {
        for (pattern, _) in TABLE.iter().filter(|(pattern, _)| !pattern.ends_with('*')) {
            assert!(broker_config(pattern).is_none(), "{pattern} is a setting");
        }
    }

    #[test]
    fn a_properties_file_is_known_by_its_names() {
        let is_setting = |name: &str| broker_config(name).is_some();
        let file = "# Kafka\nlisteners=PLAINTEXT://:9092\nnum.partitions=3\nlog.dirs=/tmp/kafka-logs\n";
        let lines: Vec<usize> = properties(file, is_setting).unwrap().iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4]);
        assert_eq!(properties("node_id = one\n", is_setting), None);
    }
}
