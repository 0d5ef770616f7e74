//! The sample: 1,707 earthquakes of one week as the USGS published them (public domain), compiled into the binary.

use anyhow::{Context, Result};
use bytes::Bytes;

const EARTHQUAKES: &str = include_str!("../../../../tests/data/earthquakes.ndjson");

/// One event: its id and its JSON text.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) json: Bytes,
}

/// Every event, in the order of the file.
pub(super) fn events() -> Result<Vec<Event>> {
    EARTHQUAKES
        .lines()
        .map(|line| Ok(Event { id: id_of(line.as_bytes())?, json: Bytes::from_static(line.as_bytes()) }))
        .collect()
}

/// The field `id` of an event.
pub(super) fn id_of(json: &[u8]) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Identified {
        id: String,
    }
    let event: Identified = serde_json::from_slice(json).context("an event without an id")?;
    Ok(event.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_sample_has_1707_events_with_distinct_ids() {
        let events = super::events().unwrap();
        let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!((events.len(), ids.len()), (1_707, 1_707));
    }
}
