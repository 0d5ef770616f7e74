//! WriteTxnMarkers (key 27): the end of transactions, from their coordinator to the leaders of the partitions (KIP-98); 2 tells the
//! transaction version (KIP-890).

use crate::Str;
use crate::describe::{api, message, structure};

api!(27, WriteTxnMarkersRequest => WriteTxnMarkersResponse);

message! {
    /// Which transactions end.
    WriteTxnMarkersRequest, versions(1, 2), flexible(1) {
        /// One producer's transaction each.
        markers: Vec<WritableTxnMarker>, since(0);
    }
}

structure! {
    /// The end of one producer's transaction.
    WritableTxnMarker {
        /// The producer.
        producer_id: i64, since(0);
        /// The epoch that the markers carry.
        producer_epoch: i16, since(0);
        /// True is commit, false is abort.
        transaction_result: bool, since(0);
        /// Where it has records, by topic.
        topics: Vec<WritableTxnMarkerTopic>, since(0);
        /// The epoch of the coordinator; an older one is fenced.
        coordinator_epoch: i32, since(0);
        /// From 2 on the markers' epoch is newer than the records'.
        transaction_version: i8, since(2).ignorable();
    }
}

structure! {
    /// One topic.
    WritableTxnMarkerTopic {
        /// The topic's name.
        name: Str, since(0);
        /// Its partitions.
        partition_indexes: Vec<i32>, since(0);
    }
}

message! {
    /// What became of the markers.
    WriteTxnMarkersResponse, versions(1, 2), flexible(1) {
        /// The results by producer.
        markers: Vec<WritableTxnMarkerResult>, since(0);
    }
}

structure! {
    /// One producer's results.
    WritableTxnMarkerResult {
        /// The producer.
        producer_id: i64, since(0);
        /// The results by topic.
        topics: Vec<WritableTxnMarkerTopicResult>, since(0);
    }
}

structure! {
    /// One topic's results.
    WritableTxnMarkerTopicResult {
        /// The topic's name.
        name: Str, since(0);
        /// The results by partition.
        partitions: Vec<WritableTxnMarkerPartitionResult>, since(0);
    }
}

structure! {
    /// One partition's result.
    WritableTxnMarkerPartitionResult {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
