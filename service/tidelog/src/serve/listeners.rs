//! Kafka listeners as operators write them: `[NAME=][PROTOCOL://]HOST:PORT`. Decides names, protocols and addresses; opens nothing.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use tidelog_model::HTTP_LISTENER;
use tidelog_security::sasl::Mechanism;

use super::config::{KafkaListener, Protocol};

/// Where the Kafka door listens if nobody says so.
const DEFAULT: &str = "127.0.0.1:9092";

/// The listeners, with the addresses that clients are told. A listener's name is its protocol unless it has its own; an advertised
/// address without a name is the first listener's.
pub(super) fn listeners(listen: &[String], advertise: &[String]) -> Result<Vec<KafkaListener>> {
    let default = [DEFAULT.to_owned()];
    let texts = if listen.is_empty() { &default[..] } else { listen };
    let mut listeners: Vec<KafkaListener> = texts.iter().map(|text| listener(text)).collect::<Result<_>>()?;
    for (at, one) in listeners.iter().enumerate() {
        // Settings of one listener have its name in small letters.
        let is_same = |other: &str| other.to_lowercase() == one.name.to_lowercase();
        let twice = listeners.iter().skip(at + 1).any(|other| is_same(&other.name));
        ensure!(!twice, "two Kafka listeners are called {}; write NAME=PROTOCOL://HOST:PORT", one.name);
        ensure!(
            !is_same(HTTP_LISTENER),
            "{} is the name of the HTTP listener; give the Kafka listener another",
            one.name
        );
    }
    let names: Vec<String> = listeners.iter().map(|listener| listener.name.clone()).collect();
    let known = format!("{} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", "));
    for text in advertise {
        let (name, address) = advertised(text)?;
        let named = match &name {
            None => listeners.first_mut(),
            Some(name) => listeners.iter_mut().find(|listener| listener.name == *name),
        };
        let Some(listener) = named else {
            bail!(
                "{text:?} advertises a Kafka listener that there is not; there {known}, and NAME=… in --kafka-listen gives another name"
            );
        };
        ensure!(listener.advertise.replace(address).is_none(), "listener {} is advertised twice", listener.name);
    }
    Ok(listeners)
}

fn listener(text: &str) -> Result<KafkaListener> {
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) => (Some(name.trim()), rest),
        None => (None, text),
    };
    let (protocol, address) = match rest.split_once("://") {
        Some((protocol, address)) => {
            let known = Protocol::ALL.iter().map(|protocol| protocol.name()).collect::<Vec<_>>().join(", ");
            let found = Protocol::from_name(protocol.trim());
            (found.with_context(|| format!("{protocol:?} in {text:?} is none of {known}"))?, address)
        }
        None => (Protocol::Plaintext, rest),
    };
    let listen = socket_address(address.trim()).with_context(|| {
        format!("{text:?} is not [NAME=][PROTOCOL://]ADDRESS:PORT; ADDRESS is an IP address or localhost, 0.0.0.0 listens on all")
    })?;
    let name = name.unwrap_or(protocol.name());
    ensure!(!name.is_empty(), "{text:?} has an empty name");
    Ok(KafkaListener { name: name.to_owned(), protocol, listen, advertise: None })
}

/// `ADDRESS:PORT`. The one name that means the same everywhere is taken; others would have to be asked for at every start.
pub(super) fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// `[NAME=]HOST:PORT`.
fn advertised(text: &str) -> Result<(Option<String>, (String, u16))> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => (Some(name.to_owned()), address),
        None => (None, text),
    };
    let (host, port) = address.rsplit_once(':').with_context(|| format!("{text:?} is not [NAME=]HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{port:?} in {text:?} is not a port"))?;
    Ok((name, (host.trim_matches(['[', ']']).to_owned(), port)))
}

/// The SASL mechanisms of the listeners that ask for one. By default those that show no password to whoever listens: SCRAM, and
/// OAUTHBEARER where tokens can be verified.
pub(super) fn mechanisms(named: &[String], has_tokens: bool) -> Result<Vec<Mechanism>> {
    if named.is_empty() {
        let safe = |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain => false,
            Mechanism::Scram(_) => true,
            Mechanism::OAuthBearer => has_tokens,
        };
        return Ok(Mechanism::ALL.iter().copied().filter(safe).collect());
    }
    let mut mechanisms = Vec::with_capacity(named.len());
    for name in named {
        let known = || Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(", ");
        let mechanism =
            Mechanism::from_name(name.trim()).with_context(|| format!("{name:?} is none of {}", known()))?;
        ensure!(
            mechanism != Mechanism::OAuthBearer || has_tokens,
            "OAUTHBEARER needs keys to verify tokens with: pass --jwt-secret-env or --jwt-jwks"
        );
        ensure!(!mechanisms.contains(&mechanism), "{name} is named twice");
        mechanisms.push(mechanism);
    }
    Ok(mechanisms)
}

#[cfg(test)]
mod tests {
    use tidelog_model::ScramMechanism;

    use super::*;

    fn read(listen: &[&str], advertise: &[&str]) -> Result<Vec<KafkaListener>> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        listeners(&owned(listen), &owned(advertise))
    }

    #[test]
    fn a_listener_has_a_name_a_protocol_and_an_address() {
        let one = read(&[], &[]).unwrap().remove(0);
        assert_eq!(
            (&*one.name, one.protocol, one.listen),
            ("PLAINTEXT", Protocol::Plaintext, DEFAULT.parse().unwrap())
        );
        let two = read(&["127.0.0.1:1", "OUT=SASL_PLAINTEXT://[::]:2"], &["OUT=db.example:9"]).unwrap();
        assert_eq!((&*two[0].name, &two[0].advertise), ("PLAINTEXT", &None));
        assert_eq!((&*two[1].name, two[1].protocol), ("OUT", Protocol::SaslPlaintext));
        assert_eq!(two[1].advertise, Some(("db.example".into(), 9)));
        assert_eq!(read(&["localhost:1"], &[]).unwrap()[0].listen, "127.0.0.1:1".parse().unwrap());
        let told = read(&["127.0.0.1:1"], &["IN=h:2"]).unwrap_err().to_string();
        assert!(told.contains("there is PLAINTEXT"), "{told}");
        assert!(read(&["db.example:1"], &[]).unwrap_err().to_string().contains("an IP address or localhost"));
        assert_eq!(read(&["127.0.0.1:1"], &["h:2"]).unwrap()[0].advertise, Some(("h".into(), 2)));
        for bad in ["x", "A=", "=127.0.0.1:1", "TLS://127.0.0.1:1", "localhost:x"] {
            assert!(read(&[bad], &[]).is_err(), "{bad}");
        }
        assert!(read(&["127.0.0.1:1", "127.0.0.1:2"], &[]).is_err(), "one name twice");
        assert!(read(&["IN=127.0.0.1:1", "in=127.0.0.1:2"], &[]).is_err(), "settings could not tell them apart");
        assert!(read(&["Http=127.0.0.1:1"], &[]).unwrap_err().to_string().contains("HTTP listener"));
        assert!(read(&["A=127.0.0.1:1"], &["B=h:2"]).is_err());
        assert!(read(&["127.0.0.1:1"], &["h:2", "h:3"]).is_err());
    }

    #[test]
    fn advertised_addresses_may_have_a_name() {
        assert_eq!(advertised("db.example:9092").unwrap(), (None, ("db.example".into(), 9092)));
        assert_eq!(advertised("IN=[::1]:19092").unwrap(), (Some("IN".into()), ("::1".into(), 19092)));
        assert!(advertised("nohost").is_err());
        assert!(advertised("a:b").is_err());
    }

    #[test]
    fn mechanisms_show_no_password_unless_one_says_so() {
        let scram = [Mechanism::Scram(ScramMechanism::Sha256), Mechanism::Scram(ScramMechanism::Sha512)];
        assert_eq!(mechanisms(&[], false).unwrap(), scram);
        assert_eq!(mechanisms(&[], true).unwrap()[2], Mechanism::OAuthBearer);
        assert_eq!(mechanisms(&["PLAIN".into()], false).unwrap(), [Mechanism::Plain]);
        for bad in [vec!["GSSAPI".into()], vec!["OAUTHBEARER".into()], vec!["PLAIN".into(), "PLAIN".into()]] {
            assert!(mechanisms(&bad, false).is_err(), "{bad:?}");
        }
    }
}
