//! Where the last records of a partition begin. Offsets do not tell: the markers of transactions, what was aborted, and what was compacted
//! away have offsets too. So it reads backwards, in windows that double, until it has seen enough records.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tidelog_client::{Client, ClientError, Consumer, ConsumerOptions, Isolation, OutOfRange, limits};
use tidelog_model::{Offset, PartitionIndex};

/// Records that are looked for at most; beyond them offsets are counted, which hardly anybody would notice.
const MAX_RECORDS: i64 = 1_000_000;

/// Offsets without enough records in them that are looked through at most.
const MAX_WINDOW: i64 = 10_000_000;

const POLL: Duration = Duration::from_secs(1);

/// The offset of the `count`th record from the end of the range, or the range's start if it has fewer.
pub(super) async fn start(
    client: &Client,
    partition: (&str, PartitionIndex),
    range: Range<Offset>,
    count: i64,
    isolation: Isolation,
) -> Result<Offset, ClientError> {
    let mut window = count;
    loop {
        let from = range.start.max(range.end.plus(window.saturating_neg()));
        // No more offsets than records are wanted: then all are.
        if from == range.start && window == count || count > MAX_RECORDS {
            return Ok(from);
        }
        let last = last_records(client, partition, from..range.end, count, isolation).await?;
        let enough = i64::try_from(last.len()).is_ok_and(|seen| seen >= count);
        match last.front() {
            Some(first) if enough => return Ok(*first),
            _ if from == range.start || window >= MAX_WINDOW => return Ok(from),
            _ => window = window.saturating_mul(2).saturating_add(16),
        }
    }
}

/// The offsets of the last records of a range, at most `count`.
async fn last_records(
    client: &Client,
    (topic, partition): (&str, PartitionIndex),
    range: Range<Offset>,
    count: i64,
    isolation: Isolation,
) -> Result<VecDeque<Offset>, ClientError> {
    let options = ConsumerOptions { isolation, out_of_range: OutOfRange::Earliest, ..ConsumerOptions::default() };
    let mut consumer = Consumer::new(client, options);
    consumer.assign(topic, partition, range.start);
    let (mut last, mut silent) = (VecDeque::new(), Duration::ZERO);
    while consumer.position(topic, partition).is_some_and(|position| position < range.end) {
        let Some(fetched) = consumer.poll(POLL).await? else {
            silent = silent.saturating_add(POLL);
            if silent >= limits::REQUEST_TIMEOUT {
                return Err(ClientError::Timeout { what: "a look at the last records", after: silent });
            }
            continue;
        };
        silent = Duration::ZERO;
        for record in fetched.records() {
            let offset = record?.offset;
            if offset >= range.end {
                break;
            }
            if i64::try_from(last.len()).is_ok_and(|kept| kept >= count) {
                last.pop_front();
            }
            last.push_back(offset);
        }
    }
    Ok(last)
}
