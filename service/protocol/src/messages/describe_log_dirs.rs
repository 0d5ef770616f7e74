//! DescribeLogDirs (key 35): what lies in a broker's log directories (KIP-113); 3 has an error of its own, 4 the
//! volume's size (KIP-827), 5 tells cordoned directories (KIP-1066).

use crate::Str;
use crate::describe::{api, message, structure};

api!(35, DescribeLogDirsRequest => DescribeLogDirsResponse);

message! {
    /// What to describe.
    DescribeLogDirsRequest, versions(1, 5), flexible(2) {
        /// The partitions to describe, by topic; null for all.
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new()), since(0).null(0);
    }
}

structure! {
    /// One topic to describe.
    DescribableLogDirTopic {
        /// The topic's name.
        topic: Str, since(0);
        /// The partitions' numbers.
        partitions: Vec<i32>, since(0);
    }
}

message! {
    /// The directories.
    DescribeLogDirsResponse, versions(1, 5), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error of the whole request, or 0.
        error_code: i16, since(3).ignorable();
        /// The directories.
        results: Vec<DescribeLogDirsResult>, since(0);
    }
}

structure! {
    /// One directory.
    DescribeLogDirsResult {
        /// The directory's error, or 0.
        error_code: i16, since(0);
        /// Its absolute path.
        log_dir: Str, since(0);
        /// What lies in it, by topic.
        topics: Vec<DescribeLogDirsTopic>, since(0);
        /// Bytes of the volume that it lies on, or −1.
        total_bytes: i64 = -1, since(4).ignorable();
        /// Bytes of the volume that may still be written, or −1.
        usable_bytes: i64 = -1, since(4).ignorable();
        /// No new replica comes here.
        is_cordoned: bool, since(5).ignorable();
    }
}

structure! {
    /// One topic.
    DescribeLogDirsTopic {
        /// The topic's name.
        name: Str, since(0);
        /// Its partitions.
        partitions: Vec<DescribeLogDirsPartition>, since(0);
    }
}

structure! {
    /// One partition.
    DescribeLogDirsPartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// Bytes of its segments.
        partition_size: i64, since(0);
        /// How far its log end lies behind the high watermark.
        offset_lag: i64, since(0);
        /// It is a copy that will take the replica's place.
        is_future_key: bool, since(0);
    }
}
