//! Reads the topics out of a consumer's subscription, the one piece of member metadata that the coordinator looks into (to keep
//! the offsets of subscribed topics from expiring). Everything else in it stays opaque.
//!
//! ```text
//! i16 version · i32 count · count × (i16 length · topic name) · …
//! ```

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

use crate::limits::MAX_SUBSCRIBED_TOPICS;

/// The topics of one subscription; `None` if it is not one.
pub(crate) fn subscribed_topics(mut subscription: Bytes) -> Option<BTreeSet<String>> {
    if subscription.try_get_i16().ok()? < 0 {
        return None;
    }
    let count = usize::try_from(subscription.try_get_i32().ok()?).ok().filter(|n| *n <= MAX_SUBSCRIBED_TOPICS)?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(subscription.try_get_i16().ok()?).ok()?;
        if subscription.remaining() < length {
            return None;
        }
        topics.insert(std::str::from_utf8(&subscription.split_to(length)).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_damage_is_refused() {
        // Version 3, topic "fixture", no user data, no owned partitions, generation −1, no rack: as librdkafka sent it.
        let real = hex::decode("000300000001000766697874757265000000000000000 0ffffffff0000".replace(' ', "")).unwrap();
        let topics = subscribed_topics(Bytes::from(real.clone())).unwrap();
        assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["fixture"]);
        for end in 0..15 {
            assert_eq!(subscribed_topics(Bytes::copy_from_slice(&real[..end])), None, "{end}");
        }
        assert_eq!(subscribed_topics(Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])), None);
        assert_eq!(subscribed_topics(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff])), None);
    }
}
