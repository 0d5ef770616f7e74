//! Who leads instead: what Produce and Fetch add to an error so that the client goes there at once (KIP-951).

use std::collections::BTreeMap;

use tidelog_broker::{BrokerError, CurrentLeader};
use tidelog_model::{KafkaError, NodeId};

use crate::request::Request;
use crate::session::Advertised;

/// Collects the leaders that one answer names, and where they are.
pub(crate) struct Leaders {
    own: NodeId,
    advertised: Advertised,
    told: bool,
    endpoints: BTreeMap<NodeId, (String, u16)>,
}

impl Leaders {
    /// For the answer to a request; before version `since` nothing is told.
    pub(crate) fn new(request: &Request<'_>, since: i16) -> Self {
        Leaders {
            own: request.session.broker.node(),
            advertised: request.session.address(),
            told: request.header.version >= since,
            endpoints: BTreeMap::new(),
        }
    }

    /// The leader to name beside an error, if the error means that the client asked the wrong broker or with an old epoch.
    pub(crate) fn of(&mut self, error: Option<&BrokerError>) -> Option<CurrentLeader> {
        let error = error.filter(|_| self.told)?;
        if !matches!(error.error, KafkaError::NotLeaderOrFollower | KafkaError::FencedLeaderEpoch) {
            return None;
        }
        let leader = error.leader?;
        if leader.node == self.own {
            self.endpoints.entry(leader.node).or_insert_with(|| self.advertised.address());
        }
        Some(leader)
    }

    /// The addresses of all leaders named so far.
    pub(crate) fn endpoints(self) -> impl Iterator<Item = (NodeId, String, u16)> {
        self.endpoints.into_iter().map(|(node, (host, port))| (node, host, port))
    }
}
