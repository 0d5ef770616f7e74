//! Limits of the metadata: each number once, with its reason.

/// Most compares and writes of one transaction together: etcd accepts 128 by default, and every store gives the same answer.
pub const MAX_TRANSACTION_OPERATIONS: usize = 100;

/// Most bytes of keys and values in one transaction: etcd refuses requests over 1.5 MiB.
pub const MAX_TRANSACTION_BYTES: usize = 1024 * 1024;

/// Longest key, bytes: a topic name of 249 characters and its prefix fit twice.
pub const MAX_KEY_BYTES: usize = 512;

/// Longest value of one setting, bytes: all settings of one topic at this length still fit one transaction.
pub const MAX_CONFIG_VALUE_BYTES: usize = 16 * 1024;

/// Most replicas of one partition: a state stays a few KiB, so that a full transaction of states stays below its byte limit.
pub const MAX_REPLICAS: usize = 32;

/// Longest name of a user, bytes: it is part of a key, and of a principal.
pub const MAX_USER_BYTES: usize = 255;

/// Most access rules: each change indexes all of them anew (milliseconds), and every broker holds them.
pub const MAX_ACLS: usize = 20_000;

/// Longest name, principal or host of an access rule, bytes: a transaction of a whole request stays below its byte limit.
pub const MAX_ACL_TEXT_BYTES: usize = 4 * 1024;

/// Most users with SCRAM credentials: every broker holds them.
pub const MAX_SCRAM_CREDENTIALS: usize = 20_000;

/// Longest name of a group or of a subscription to clients' metrics with settings of its own, bytes: it is part of a key.
pub const MAX_CONFIGURED_NAME_BYTES: usize = 255;

/// Most groups with settings of their own: every broker holds them.
pub const MAX_GROUP_CONFIGS: usize = 20_000;

/// Most subscriptions to clients' metrics: every broker holds them, and there are a few.
pub const MAX_CLIENT_METRICS: usize = 1_000;

/// Most delegation tokens: every broker holds them, and looks through all of them to find one by its secret (milliseconds).
pub const MAX_DELEGATION_TOKENS: usize = 10_000;

/// Most delegation tokens of one owner: nobody takes all there may be from the others. (Jobs and their workers share one.)
pub const MAX_DELEGATION_TOKENS_OF_ONE: usize = 1_000;

/// Least length of a `delegation.token.secret.key` that a start does not warn of, bytes: whoever guesses it has every token, and can try it
/// on one of his own without asking. (As for the secrets of bearer tokens, RFC 7518 §3.2.)
pub const STRONG_TOKEN_SECRET_BYTES: usize = 32;

/// Most renewers of one delegation token: it stays a few KiB.
pub const MAX_TOKEN_RENEWERS: usize = 20;

/// Longest id of a delegation token, bytes; ours have 22.
pub const MAX_TOKEN_ID_BYTES: usize = 64;

/// Producer ids reserved at once (Kafka's block): one write to the store per thousand producers.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// The first producer id that is given out after another Kafka's logs were adopted: no cluster has come that far, counting from 0.
pub const FIRST_PRODUCER_ID_AFTER_ADOPTION: i64 = 1 << 40;

/// Most bytes of KRaft's records that are held while a directory is taken over, twice if a transaction is open; half of it may be left at the
/// end. Kafka's own controllers hold all of it several times over.
pub const MAX_KRAFT_BYTES: usize = 256 * 1024 * 1024;

/// Largest record of KRaft, bytes: the largest that Kafka writes, a partition's or a setting's, is a few KiB.
pub const MAX_KRAFT_RECORD_BYTES: usize = 1024 * 1024;

/// Names of one kind in the sentence about what is not taken over: enough to see what it is about.
pub const MAX_NAMES_TOLD: usize = 20;

/// Smallest `segment.bytes`, as in Kafka: smaller ones cost a file and an upload for next to nothing.
pub const MIN_SEGMENT_BYTES: i64 = 1024 * 1024;

/// Smallest `internal.segment.bytes`, with which tests and the demonstration watch segments roll: a few records. (Kafka takes any number.)
pub const MIN_INTERNAL_SEGMENT_BYTES: i64 = 1024;

/// Most endpoints of one broker: one per listener.
pub const MAX_ENDPOINTS: usize = 32;

const _: () = assert!(MAX_KEY_BYTES > 2 * tidelog_model::limits::MAX_TOPIC_NAME_LENGTH);
const _: () = assert!(MAX_KEY_BYTES > MAX_USER_BYTES + "scram/SCRAM-SHA-256/".len());
const _: () = assert!(MAX_KEY_BYTES > MAX_CONFIGURED_NAME_BYTES + "configs/client-metrics/".len());
const _: () = assert!(MAX_CONFIG_VALUE_BYTES * 50 < MAX_TRANSACTION_BYTES);
