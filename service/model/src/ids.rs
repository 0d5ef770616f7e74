//! Numbers with a type: unlike ones do not add, compare or mix.

use std::fmt;

use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain number, for the wire, files and messages.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A record's position in its partition, or the position after the last record (an *end offset*, exclusive).
    Offset(i64)
);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);
    /// "No offset" where Kafka's formats write −1.
    pub const NONE: Offset = Offset(-1);

    /// The offset `count` records later; saturates, so that outside numbers cannot overflow.
    #[must_use]
    pub const fn plus(self, count: i64) -> Offset {
        Offset(self.0.saturating_add(count))
    }

    /// How many offsets lie in `[earlier, self)`; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Offset) -> u64 {
        let distance = self.0.saturating_sub(earlier.0);
        if distance > 0 { distance as u64 } else { 0 }
    }
}

number!(
    /// Counts the leaderships of a partition (KIP-101); −1 is "unknown".
    LeaderEpoch(i32)
);

impl LeaderEpoch {
    /// "Unknown" on the wire.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

number!(
    /// A producer's identity for idempotence and transactions (KIP-98); −1 is "none".
    ProducerId(i64)
);

impl ProducerId {
    /// A producer without idempotence.
    pub const NONE: ProducerId = ProducerId(-1);
}

number!(
    /// Fences older instances of one producer id; −1 is "none".
    ProducerEpoch(i16)
);

impl ProducerEpoch {
    /// A producer without idempotence.
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

number!(
    /// A record's number within one producer id and epoch; wraps from `i32::MAX` to 0; −1 is "none".
    Sequence(i32)
);

impl Sequence {
    /// A batch without idempotence.
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence `count` records later, wrapping within `0..=i32::MAX` as Kafka's producers do.
    #[must_use]
    pub const fn plus(self, count: i32) -> Sequence {
        let sum = self.0 as i64 + count as i64;
        let modulus = i32::MAX as i64 + 1;
        Sequence((((sum % modulus) + modulus) % modulus) as i32)
    }
}

number!(
    /// A broker's number in the cluster; −1 is "none".
    NodeId(i32)
);

number!(
    /// One registration of a broker: the metadata store's revision at which it registered.
    BrokerEpoch(i64)
);

number!(
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
);

/// A topic's identity: survives nothing, not even deletion and creation under the same name (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// "No id" on the wire: sixteen zero bytes.
    pub const ZERO: TopicId = TopicId(Uuid::nil());

    /// The sixteen bytes as the wire and `partition.metadata` order them (big-endian).
    pub const fn bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id from its sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        TopicId(Uuid::from_bytes(bytes))
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for TopicId {
    /// Kafka's text form: 22 characters of unpadded URL-safe base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.bytes());
        let mut text = String::with_capacity(22);
        for index in 0..22u32 {
            // 22 groups of six bits are 132 bits: the last group carries two bits and four zeros.
            let group = if index < 21 { (bits >> (122 - 6 * index)) & 63 } else { (bits << 4) & 63 };
            let letter = BASE64URL.get(group as usize).copied().unwrap_or(b'A');
            text.push(letter as char);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a topic id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a topic id: expected 22 characters of URL-safe base64")]
pub struct InvalidTopicId;

impl std::str::FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, InvalidTopicId> {
        if text.len() != 22 {
            return Err(InvalidTopicId);
        }
        let mut bits: u128 = 0;
        for (index, letter) in text.bytes().enumerate() {
            let group = BASE64URL.iter().position(|l| *l == letter).ok_or(InvalidTopicId)? as u128;
            if index < 21 {
                bits |= group << (122 - 6 * index);
            } else if group & 15 == 0 {
                bits |= group >> 4;
            } else {
                return Err(InvalidTopicId);
            }
        }
        Ok(TopicId::from_bytes(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_where_kafka_wraps() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(0).plus(-1), Sequence(i32::MAX));
    }

    #[test]
    fn topic_ids_have_kafkas_text_form() {
        // The id of topic `fixture` and its text, both as Apache Kafka 4.3 wrote them, share this alphabet and length.
        let id = TopicId::from_bytes([0xff; 16]);
        assert_eq!(id.to_string(), "_____________________w");
        assert_eq!("_____________________w".parse::<TopicId>(), Ok(id));
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert!("AAAAAAAAAAAAAAAAAAAAAB".parse::<TopicId>().is_err());
    }

    #[test]
    fn offsets_saturate() {
        assert_eq!(Offset(i64::MAX).plus(5), Offset(i64::MAX));
        assert_eq!(Offset(7).since(Offset(9)), 0);
        assert_eq!(Offset(9).since(Offset(7)), 2);
    }
}
