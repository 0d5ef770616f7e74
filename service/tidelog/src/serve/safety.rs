//! Decides whether a configuration may listen where it wants to. Secure by default: loopback only, unless authenticated.

use std::net::SocketAddr;

use tidelog_metadata::BrokerConfig;

use super::config::{ClientAuth, JwksPlace, KafkaListener, Protocol, ServeConfig};

/// Why the server does not start, with the ways out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsafe {
    /// A listener beyond loopback where nobody says who he is.
    #[error(
        "{door} would listen on {address}, which others can reach, without authentication; {configure}, or pass \
         --allow-unauthenticated if everybody who can reach it may read and write everything"
    )]
    Open {
        /// Which door.
        door: &'static str,
        /// Where.
        address: SocketAddr,
        /// The better way out.
        configure: &'static str,
    },
    /// An issuer makes tokens for others too, and whoever has one of those may not come in with it (RFC 8725 §3.9).
    #[error(
        "every token of the issuer behind --jwt-jwks would be taken, also one that was made for another service; say which are meant \
         with --jwt-audience (and --jwt-issuer), or pass --jwt-any-audience if the issuer makes tokens for this service only"
    )]
    AnyToken,
}

/// Do only their certificates say who its clients are, and can others reach it?
pub(super) fn needs_certificates(listener: &KafkaListener) -> bool {
    reachable(&listener.listen) && listener.protocol.has_tls() && !listener.protocol.has_sasl()
}

fn reachable(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Who does not say who he is.
const UNNAMED: &str = "User:ANONYMOUS";

/// Can clients of such a listener say who they are?
fn can_say(config: &ServeConfig, protocol: Protocol) -> bool {
    let asked = config.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::None);
    protocol.has_sasl() || protocol.has_tls() && asked
}

/// Does nobody have a right before there is an access rule, so that nobody can add one?
pub(crate) fn needs_rules(config: &ServeConfig) -> bool {
    config.acls.as_ref().is_some_and(|acls| acls.super_users.is_empty() && !acls.allow_everyone)
}

/// Refuses open listeners beyond loopback; returns warnings to log otherwise.
pub(crate) fn check(config: &ServeConfig) -> Result<Vec<String>, Unsafe> {
    let mut warnings = Vec::new();
    let certified = config.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::Required);
    let is_open = |listener: &&KafkaListener| {
        let protocol = listener.protocol;
        !(protocol.has_sasl() || protocol.has_tls() && certified)
    };
    let open: Vec<&KafkaListener> = config.kafka.iter().filter(is_open).collect();
    let has_http_users = config.jwt.is_some() || config.http_basic;
    // Where access rules bind, an open door leads only to what they allow those without a name.
    let unnamed_may_all =
        config.acls.as_ref().is_none_or(|acls| acls.allow_everyone || acls.super_users.contains(UNNAMED));
    if let Some(listener) = open.iter().find(|listener| reachable(&listener.listen))
        && !config.allow_unauthenticated
    {
        return Err(Unsafe::Open {
            door: "Kafka",
            address: listener.listen,
            configure: "make its clients authenticate with --kafka-listen SASL_SSL://… or --kafka-tls-client-ca",
        });
    }
    if config.kafka.iter().any(|listener| listener.protocol == Protocol::SaslPlaintext && reachable(&listener.listen)) {
        warnings.push("Kafka clients authenticate, but what they send and get is not encrypted".into());
    }
    if reachable(&config.http) && config.jwt.is_none() && !config.http_basic && !config.allow_unauthenticated {
        return Err(Unsafe::Open {
            door: "HTTP",
            address: config.http,
            configure: "configure tokens with --jwt-secret-env or --jwt-jwks, or let users in with --http-basic",
        });
    }
    if reachable(&config.http) && !config.https && (config.http_basic || config.jwt.is_some()) {
        let sent = match (config.http_basic, config.jwt.is_some()) {
            (true, true) => "passwords and tokens",
            (true, false) => "passwords",
            (false, _) => "tokens",
        };
        warnings
            .push(format!("HTTP clients send their {sent}, and nothing is encrypted: pass --http-listen https://…"));
    }
    if open.len() < config.kafka.len() && !has_http_users && unnamed_may_all {
        warnings.push(format!(
            "Kafka clients authenticate, and the HTTP door on {} is open to whoever reaches it: pass --http-basic, or configure tokens \
             with --jwt-secret-env or --jwt-jwks",
            config.http
        ));
    }
    if has_http_users && unnamed_may_all {
        let by = if config.jwt.is_some() { "tokens protect" } else { "--http-basic protects" };
        warnings.extend(open.iter().map(|listener| {
            format!("{by} HTTP and gRPC only: the Kafka door on {} is open to whoever reaches it", listener.listen)
        }));
    }
    if let Some(acls) = &config.acls
        && !has_http_users
        && !acls.allow_everyone
        && !acls.super_users.is_empty()
        && !acls.super_users.contains(UNNAMED)
        && !config.kafka.iter().any(|listener| can_say(config, listener.protocol))
    {
        let users: Vec<&str> = acls.super_users.iter().map(String::as_str).collect();
        warnings.push(format!(
            "access rules bind, and no door asks clients who they are: all are {UNNAMED}, and nobody can be {}; let them say it with \
             --kafka-listen SASL_SSL://…, --kafka-tls-client-ca, --http-basic or tokens",
            users.join(" or ")
        ));
    }
    if let Some(jwt) = &config.jwt {
        let unnamed = (jwt.issuer.is_none(), jwt.audiences.is_empty());
        if unnamed == (true, true) && matches!(jwt.jwks, Some(JwksPlace::Url(_))) && !jwt.any_audience {
            return Err(Unsafe::AnyToken);
        }
        if unnamed != (false, false) && !jwt.any_audience {
            warnings.push(
                "--jwt-issuer or --jwt-audience is not set: tokens of any issuer or for any audience are accepted if \
                 their signature is right"
                    .into(),
            );
        }
    }
    // What is wrong with the settings themselves hears whoever reads them.
    let settings = BrokerConfig::new(config.broker.iter().map(|(name, value)| (name, value)));
    if settings.is_ok_and(|settings| settings.has_weak_token_secret()) {
        warnings.push(
            "delegation.token.secret.key is shorter than 32 bytes: whoever has a token can guess it, and with it every other token; \
             take a longer one (`openssl rand -hex 32`) when the tokens that were made with it are over"
                .into(),
        );
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use tidelog_model::NodeId;
    use tidelog_partition::Durability;
    use tidelog_security::AclDefaults;

    use super::*;
    use crate::serve::config::{JwtConfig, StoreConfig, TlsConfig};

    fn config(kafka: &str, http: &str) -> ServeConfig {
        ServeConfig {
            data_dir: "data".into(),
            node: NodeId(1),
            kafka: vec![KafkaListener {
                name: "PLAINTEXT".into(),
                protocol: Protocol::Plaintext,
                listen: kafka.parse().unwrap(),
                advertise: None,
            }],
            tls: None,
            sasl_mechanisms: Vec::new(),
            http: http.parse().unwrap(),
            https: false,
            audit_log: None,
            http_basic: false,
            http_advertise: None,
            object_store: None,
            store: StoreConfig::default(),
            durability: Durability::Fsync,
            allow_unauthenticated: false,
            acls: None,
            jwt: None,
            broker: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }

    #[test]
    fn only_loopback_may_be_open() {
        assert_eq!(check(&config("127.0.0.1:9092", "[::1]:8082")), Ok(vec![]));
        let refused = check(&config("0.0.0.0:9092", "127.0.0.1:8082")).unwrap_err().to_string();
        assert!(refused.contains("Kafka") && refused.contains("--allow-unauthenticated"), "{refused}");
        let refused = check(&config("127.0.0.1:9092", "0.0.0.0:8082")).unwrap_err().to_string();
        assert!(refused.contains("--jwt-secret-env"), "{refused}");
        let mut keyed = config("127.0.0.1:9092", "127.0.0.1:8082");
        for (key, warnings) in [("0123456789abcdef0123456789abcde", 1), ("0123456789abcdef0123456789abcdef", 0)] {
            keyed.broker = vec![("delegation.token.secret.key".into(), key.into())];
            let told = check(&keyed).unwrap();
            assert_eq!(told.len(), warnings, "{told:?}");
            assert!(!format!("{told:?}").contains("0123"), "{told:?}");
        }
        let mut tokens = config("127.0.0.1:9092", "0.0.0.0:8082");
        tokens.jwt = Some(JwtConfig {
            secret_env: Some("X".into()),
            jwks: None,
            jwks_refresh: Default::default(),
            subject_claim: String::new(),
            issuer: None,
            audiences: vec![],
            any_audience: false,
        });
        let warnings = check(&tokens).unwrap();
        assert!(warnings.len() == 3 && warnings.iter().any(|warning| warning.contains("their tokens")), "{warnings:?}");
        tokens.jwt.as_mut().unwrap().any_audience = true;
        assert_eq!(check(&tokens).unwrap().len(), 2, "somebody has said so");
        tokens.jwt.as_mut().unwrap().any_audience = false;
        let mut sasl = config("0.0.0.0:9092", "127.0.0.1:8082");
        sasl.kafka[0].protocol = Protocol::SaslPlaintext;
        let told = check(&sasl).unwrap();
        assert!(told.len() == 2 && told.iter().any(|told| told.contains("--http-basic")), "HTTP is open: {told:?}");
        sasl.http_basic = true;
        assert_eq!(check(&sasl).unwrap().len(), 1, "a warning: nothing is encrypted");
        sasl.kafka[0].protocol = Protocol::SaslSsl;
        assert_eq!(check(&sasl), Ok(vec![]));
        let mut certified = sasl.clone();
        certified.kafka[0].protocol = Protocol::Ssl;
        let files = |client_auth| TlsConfig {
            cert: "cert".into(),
            key: "key".into(),
            client_ca: Some("ca".into()),
            client_auth,
            rules: Default::default(),
        };
        certified.tls = Some(files(ClientAuth::Required));
        assert_eq!(check(&certified), Ok(vec![]));
        certified.tls = Some(files(ClientAuth::Requested));
        assert!(check(&certified).is_err(), "whoever shows nothing gets in");
        let needs = |kafka: &KafkaListener, address: &str| {
            needs_certificates(&KafkaListener { listen: address.parse().unwrap(), ..kafka.clone() })
        };
        assert!(needs(&certified.kafka[0], "0.0.0.0:1") && !needs(&certified.kafka[0], "[::ffff:127.0.0.1]:1"));
        assert!(!needs(&sasl.kafka[0], "0.0.0.0:1"));
        sasl.kafka[0].protocol = Protocol::SaslPlaintext;
        let mut both = sasl.clone();
        both.kafka.push(config("0.0.0.0:9093", "127.0.0.1:8082").kafka.remove(0));
        assert!(check(&both).is_err(), "each listener counts");
        sasl.jwt = tokens.jwt.clone();
        assert_eq!(check(&sasl).unwrap().len(), 2, "no open Kafka door to warn of");
        let mut open = config("0.0.0.0:9092", "0.0.0.0:8082");
        open.allow_unauthenticated = true;
        assert!(check(&open).is_ok());
    }

    #[test]
    fn whom_access_rules_leave_outside_or_let_in_is_told() {
        let acls = |users: &[&str], allow_everyone| {
            Some(AclDefaults { super_users: users.iter().map(|&user| user.to_owned()).collect(), allow_everyone })
        };
        let told = |config: &ServeConfig| check(config).unwrap().join("; ");
        let mut open = config("127.0.0.1:9092", "127.0.0.1:8082");
        open.acls = acls(&["User:admin"], false);
        assert!(told(&open).contains("nobody can be User:admin"), "{}", told(&open));
        for fine in [acls(&["User:ANONYMOUS"], false), acls(&["User:admin"], true), acls(&[], false)] {
            open.acls = fine;
            assert_eq!(told(&open), "");
        }
        assert!(needs_rules(&open));
        open.acls = acls(&["User:admin"], false);
        assert!(!needs_rules(&open));
        // Whoever comes in by the Kafka door has no name there, and no right.
        open.http_basic = true;
        assert_eq!(told(&open), "");
        for all in [None, acls(&["User:ANONYMOUS"], false), acls(&[], true)] {
            open.acls = all;
            assert!(told(&open).contains("--http-basic protects HTTP and gRPC only"), "{}", told(&open));
        }
        open.http_basic = false;
        open.kafka[0].protocol = Protocol::SaslPlaintext;
        assert!(told(&open).contains("HTTP door"), "{}", told(&open));
        open.acls = acls(&["User:admin"], false);
        assert_eq!(told(&open), "");
    }

    /// An issuer behind an address makes tokens for many services; a file of keys or a shared secret is somebody's own.
    #[test]
    fn not_every_token_of_an_issuer_is_taken_unless_somebody_says_so() {
        let mut config = config("127.0.0.1:9092", "127.0.0.1:8082");
        let jwt = |jwks, issuer: Option<&str>, audiences: &[&str], any_audience| JwtConfig {
            secret_env: None,
            jwks: Some(jwks),
            jwks_refresh: Default::default(),
            subject_claim: String::new(),
            issuer: issuer.map(str::to_owned),
            audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
            any_audience,
        };
        let address = || JwksPlace::Url("https://issuer.example/keys".parse().unwrap());
        let file = || JwksPlace::File("keys".into());
        for (jwt, starts) in [
            (jwt(address(), None, &[], false), false),
            (jwt(address(), None, &["tidelog"], false), true),
            (jwt(address(), Some("https://issuer.example"), &[], false), true),
            (jwt(address(), None, &[], true), true),
            (jwt(file(), None, &[], false), true),
        ] {
            let shown = format!("{jwt:?}");
            config.jwt = Some(jwt);
            assert_eq!(check(&config).is_ok(), starts, "{shown}");
        }
        config.jwt = Some(jwt(address(), None, &[], false));
        let refused = check(&config).unwrap_err().to_string();
        assert!(refused.contains("--jwt-audience") && refused.contains("--jwt-any-audience"), "{refused}");
    }
}
