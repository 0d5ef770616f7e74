//! DescribeCluster (key 60): the cluster's id and brokers (KIP-700); 1 can ask for controllers (KIP-919), 2 lists
//! fenced brokers (KIP-1073).

use super::NO_AUTHORIZED_OPERATIONS;
use crate::Str;
use crate::describe::{api, message, structure};

api!(60, DescribeClusterRequest => DescribeClusterResponse);

message! {
    /// What to describe.
    DescribeClusterRequest, versions(0, 2), flexible(0) {
        /// Answer with what the caller may do to the cluster (KIP-430).
        include_cluster_authorized_operations: bool, since(0);
        /// 1: brokers, 2: controllers.
        endpoint_type: i8 = 1, since(1);
        /// List fenced brokers too.
        include_fenced_brokers: bool, since(2);
    }
}

message! {
    /// The cluster.
    DescribeClusterResponse, versions(0, 2), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(0).null(0);
        /// As in the request.
        endpoint_type: i8 = 1, since(1);
        /// The cluster's id.
        cluster_id: Str, since(0);
        /// The controller, or −1.
        controller_id: i32 = -1, since(0);
        /// The brokers.
        brokers: Vec<DescribeClusterBroker>, since(0);
        /// Bits of what the caller may do to the cluster.
        cluster_authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, since(0);
    }
}

structure! {
    /// One broker.
    DescribeClusterBroker {
        /// Its number.
        broker_id: i32, since(0);
        /// Its host.
        host: Str, since(0);
        /// Its port.
        port: i32, since(0);
        /// Its rack, or null.
        rack: Option<Str> = None, since(0).null(0);
        /// It is registered but must not lead.
        is_fenced: bool, since(2);
    }
}
