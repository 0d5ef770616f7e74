//! What this broker is, under Kafka's names, for DescribeConfigs. Decides texts from the configuration and the open sockets; asks nothing else.

use std::net::SocketAddr;
use std::path::Path;

use tidelog_metadata::keys::Endpoint;

use super::config::ServeConfig;

/// Kafka's own authorizer has these rules.
const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// Name and value of each fact that is known; what is not there is not set.
pub(super) fn of(
    config: &ServeConfig,
    listeners: &[(String, SocketAddr)],
    endpoints: &[Endpoint],
    root: &Path,
) -> Vec<(&'static str, String)> {
    let listed = |items: Vec<String>| items.join(",");
    let (node, directory) = (config.node.to_string(), root.display().to_string());
    let advertised = endpoints.iter().map(|one| format!("{}://{}", one.listener, host_port(&one.host, one.port)));
    let protocols = endpoints.iter().map(|one| format!("{}:{}", one.listener, one.security));
    let mut facts = vec![
        ("advertised.listeners", listed(advertised.collect())),
        ("authorizer.class.name", config.acls.as_ref().map(|_| AUTHORIZER.to_owned()).unwrap_or_default()),
        ("broker.id", node.clone()),
        ("listener.security.protocol.map", listed(protocols.collect())),
        ("listeners", listed(listeners.iter().map(|(name, address)| format!("{name}://{address}")).collect())),
        ("log.dir", directory.clone()),
        ("log.dirs", directory),
        ("node.id", node),
        ("process.roles", "broker,controller".to_owned()),
        ("remote.log.storage.system.enable", "true".to_owned()),
        ("sasl.enabled.mechanisms", listed(config.sasl_mechanisms.iter().map(|one| one.name().to_owned()).collect())),
    ];
    if let Some(acls) = &config.acls {
        let users: Vec<&str> = acls.super_users.iter().map(String::as_str).collect();
        facts.push(("super.users", users.join(";")));
    }
    facts
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!((host_port("::1", 9092), host_port("a.b", 1)), ("[::1]:9092".to_owned(), "a.b:1".to_owned()));
    }
}
