//! Quotas as Kafka has them (KIP-13, 55, 124, 599, 612): who is limited, and in what. Decides which pairs make sense; counts nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaKind {
    /// Bytes of record batches that come in, per second.
    ProducerByteRate,
    /// Bytes of record batches that go out, per second.
    ConsumerByteRate,
    /// Time that requests take, percent of one thread (KIP-124).
    RequestPercentage,
    /// Partitions created and deleted, per second (KIP-599).
    ControllerMutationRate,
    /// New connections per second (KIP-612).
    ConnectionCreationRate,
}

impl QuotaKind {
    /// Every kind.
    pub const ALL: &'static [QuotaKind] = &[
        QuotaKind::ProducerByteRate,
        QuotaKind::ConsumerByteRate,
        QuotaKind::RequestPercentage,
        QuotaKind::ControllerMutationRate,
        QuotaKind::ConnectionCreationRate,
    ];

    /// Those that requests are charged to.
    pub fn of_requests() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| *kind != QuotaKind::ConnectionCreationRate)
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            QuotaKind::ProducerByteRate => "producer_byte_rate",
            QuotaKind::ConsumerByteRate => "consumer_byte_rate",
            QuotaKind::RequestPercentage => "request_percentage",
            QuotaKind::ControllerMutationRate => "controller_mutation_rate",
            QuotaKind::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// The kind with Kafka's name.
    pub fn from_name(name: &str) -> Option<QuotaKind> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Is this a value of the quota? Bytes and connections are whole numbers; nothing can be limited to nothing.
    pub fn takes(self, value: f64) -> bool {
        let whole = match self {
            QuotaKind::ProducerByteRate | QuotaKind::ConsumerByteRate | QuotaKind::ConnectionCreationRate => true,
            QuotaKind::RequestPercentage | QuotaKind::ControllerMutationRate => false,
        };
        // Kafka's tolerance for a whole number; zero within it is none that one could keep to.
        value.is_finite() && value > 0.0 && (!whole || (value.round() >= 1.0 && (value - value.round()).abs() <= 1e-6))
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A part of an entity: one name, or all that have no quota of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaName {
    /// Everybody without a quota of his own.
    Default,
    /// This one.
    Named(Arc<str>),
}

impl QuotaName {
    /// The name; none is the default.
    pub fn new(name: Option<&str>) -> Self {
        name.map_or(QuotaName::Default, |name| QuotaName::Named(Arc::from(name)))
    }

    /// The name; `None` for the default.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            QuotaName::Default => None,
            QuotaName::Named(name) => Some(name),
        }
    }
}

/// Who is limited: a user, a client id, both together, or an address. Displayed as it is stored, `user=alice,client-id=*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct QuotaEntity {
    /// A user, by the principal's name without `User:`.
    pub user: Option<QuotaName>,
    /// What a client calls itself.
    pub client_id: Option<QuotaName>,
    /// An address.
    pub ip: Option<QuotaName>,
}

/// Why parts are no entity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidQuotaEntity {
    /// There are none, or they do not go together.
    #[error("Invalid empty client quota entity")]
    Combination,
    /// Nobody knows this kind of part.
    #[error("Unhandled client quota entity type: {0}")]
    Unknown(String),
    /// A part is there twice.
    #[error("Invalid client quota entity, duplicate entity entry {0}")]
    Twice(&'static str),
    /// A name without a letter.
    #[error("Empty {0} not supported")]
    Empty(&'static str),
    /// An address that is none.
    #[error("{0} is not a valid IP")]
    Address(String),
}

impl QuotaEntity {
    /// The types of parts that there are (KIP-546 leaves room for others).
    pub const TYPES: [&'static str; 3] = ["user", "client-id", "ip"];

    /// The entity of these parts, each a type (`user`, `client-id`, `ip`) and a name; no name is the default. An address becomes
    /// what callers' addresses are compared with, however it was written.
    pub fn new<'a>(parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Result<Self, InvalidQuotaEntity> {
        let mut entity = Self::as_written(parts)?;
        if let Some(QuotaName::Named(address)) = &mut entity.ip {
            *address = Arc::from(canonical_address(address));
        }
        Ok(entity)
    }

    fn as_written<'a>(parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Result<Self, InvalidQuotaEntity> {
        let mut entity = QuotaEntity::default();
        for (kind, name) in parts {
            let (label, place) = match kind {
                "user" => ("user", &mut entity.user),
                "client-id" => ("client-id", &mut entity.client_id),
                "ip" => ("ip", &mut entity.ip),
                _ => return Err(InvalidQuotaEntity::Unknown(kind.chars().take(100).collect())),
            };
            if name.is_some_and(str::is_empty) {
                return Err(InvalidQuotaEntity::Empty(label));
            }
            if place.replace(QuotaName::new(name)).is_some() {
                return Err(InvalidQuotaEntity::Twice(label));
            }
        }
        let by_name = entity.user.is_some() || entity.client_id.is_some();
        if by_name == entity.ip.is_some() {
            return Err(InvalidQuotaEntity::Combination);
        }
        if let Some(QuotaName::Named(address)) = &entity.ip
            && address.parse::<std::net::IpAddr>().is_err()
        {
            return Err(InvalidQuotaEntity::Address(address.chars().take(100).collect()));
        }
        Ok(entity)
    }

    /// Its parts: type and name; no name is the default.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let all = [("user", &self.user), ("client-id", &self.client_id), ("ip", &self.ip)];
        all.into_iter().filter_map(|(kind, name)| Some((kind, name.as_ref()?.as_str())))
    }

    /// Can the entity have a quota of this kind?
    pub fn can_have(&self, kind: QuotaKind) -> bool {
        self.ip.is_some() == (kind == QuotaKind::ConnectionCreationRate)
    }
}

/// Every quota that is set.
pub type QuotaTable = BTreeMap<QuotaEntity, BTreeMap<QuotaKind, f64>>;

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, name)) in self.parts().enumerate() {
            if at > 0 {
                f.write_char(',')?;
            }
            write!(f, "{kind}=")?;
            match name {
                None => f.write_char('*')?,
                Some(name) => {
                    for byte in name.bytes() {
                        // Letters, digits and what is usual in names as they are, all else by its number.
                        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
                            f.write_char(char::from(byte))?;
                        } else {
                            write!(f, "%{byte:02X}")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl FromStr for QuotaEntity {
    type Err = InvalidQuotaEntity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (kind, name) = part.split_once('=').ok_or(InvalidQuotaEntity::Combination)?;
            let name = if name == "*" { None } else { Some(decoded(name).ok_or(InvalidQuotaEntity::Combination)?) };
            parts.push((kind, name));
        }
        // What is stored stays the key that it is.
        QuotaEntity::as_written(parts.iter().map(|(kind, name)| (*kind, name.as_deref())))
    }
}

/// An address as quotas have it: IPv4 without its IPv6 clothes, IPv6 short and in small letters. What is no address stays.
pub fn canonical_address(text: &str) -> String {
    text.parse::<std::net::IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_canonical().to_string())
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_come_back_from_their_text() {
        for (parts, text) in [
            (vec![("user", Some("alice"))], "user=alice"),
            (
                vec![("client-id", None), ("user", Some("CN=a,O=b/*%é"))],
                "user=CN%3Da%2CO%3Db%2F%2A%25%C3%A9,client-id=*",
            ),
            (vec![("user", None), ("client-id", Some("*"))], "user=*,client-id=%2A"),
            (vec![("ip", Some("::1"))], "ip=%3A%3A1"),
            (vec![("ip", None)], "ip=*"),
        ] {
            let entity = QuotaEntity::new(parts).unwrap();
            assert_eq!(entity.to_string(), text);
            assert_eq!(text.parse(), Ok(entity));
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for (written, text) in
            [("2001:DB8:0::1", "ip=2001%3Adb8%3A%3A1"), ("::ffff:10.0.0.1", "ip=10.0.0.1"), ("10.0.0.1", "ip=10.0.0.1")]
        {
            assert_eq!(QuotaEntity::new([("ip", Some(written))]).unwrap().to_string(), text);
        }
        let stored = "ip=2001%3ADB8%3A%3A1";
        assert_eq!(stored.parse::<QuotaEntity>().unwrap().to_string(), stored, "a stored key is itself");
    }

    #[test]
    fn what_is_no_entity_says_why() {
        let name = Some("x");
        for (parts, reason) in [
            (vec![], "empty client quota entity"),
            (vec![("user", name), ("ip", Some("127.0.0.1"))], "empty client quota entity"),
            (vec![("group", name)], "Unhandled"),
            (vec![("user", name), ("user", None)], "duplicate"),
            (vec![("client-id", Some(""))], "Empty client-id"),
            (vec![("ip", name)], "not a valid IP"),
        ] {
            let error = QuotaEntity::new(parts.clone()).unwrap_err().to_string();
            assert!(error.contains(reason), "{parts:?}: {error}");
        }
        for text in ["", "user", "user=%4", "user=%zz", "user=%ff"] {
            assert!(text.parse::<QuotaEntity>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_positive_and_whole_where_they_count() {
        assert!(QuotaKind::ProducerByteRate.takes(1024.0));
        assert!(QuotaKind::RequestPercentage.takes(0.5));
        for bad in [0.0, 1e-7, -1.0, f64::NAN, f64::INFINITY, 1.5] {
            assert!(!QuotaKind::ConsumerByteRate.takes(bad), "{bad}");
        }
    }
}
