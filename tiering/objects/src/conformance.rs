//! What every object store must do for Tidelog, as one suite. Run it on a new kind of store before trusting it with data.
//!
//! Each check returns a sentence on what was wrong. The suite works below the prefix of the [`Objects`] it is given and leaves
//! nothing behind when it succeeds.

use bytes::Bytes;
use futures::future::join_all;

use crate::limits::{PART_BYTES, SINGLE_PUT_BYTES};
use crate::{Objects, ObjectsError};

/// What a store did wrong.
pub type Verdict = Result<(), String>;

fn expect<T>(what: &str, outcome: Result<T, ObjectsError>) -> Result<T, String> {
    outcome.map_err(|e| format!("{what}: {e}"))
}

fn ensure(what: &str, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Runs every check.
pub async fn run(objects: &Objects) -> Verdict {
    puts_and_gets(objects).await?;
    absent_objects(objects).await?;
    creates_are_exclusive(objects).await?;
    listings(objects).await?;
    large_objects(objects).await?;
    prefixes(objects).await?;
    let left = expect("list at the end", objects.list("", None, 10).await)?;
    ensure(&format!("objects left behind: {:?}", left.objects), left.objects.is_empty())
}

async fn puts_and_gets(objects: &Objects) -> Verdict {
    let key = "dir-1/a+b=c_d.e";
    expect("put", objects.put(key, Bytes::from_static(b"0123456789")).await)?;
    ensure("get returns what was put", expect("get", objects.get(key).await)? == b"0123456789".as_slice())?;
    expect("put over", objects.put(key, Bytes::from_static(b"abcdefghij")).await)?;
    ensure("put replaces", expect("get", objects.get(key).await)? == b"abcdefghij".as_slice())?;
    let range = expect("get_range", objects.get_range(key, 3..7).await)?;
    ensure("a range is exact", range == b"defg".as_slice())?;
    ensure("a range beyond the end is an error", objects.get_range(key, 8..12).await.is_err())?;
    let ranges = expect("get_ranges", objects.get_ranges(key, &[0..2, 8..10]).await)?;
    ensure("several ranges", ranges == [Bytes::from_static(b"ab"), Bytes::from_static(b"ij")])?;
    let info = expect("head", objects.head(key).await)?;
    ensure("head says the size", info.size == 10 && info.key == key)?;
    ensure("head says the time", info.modified.get() > 1_500_000_000_000)?;
    expect("put empty", objects.put("dir-1/empty", Bytes::new()).await)?;
    ensure("an empty object", expect("get", objects.get("dir-1/empty").await)?.is_empty())?;
    expect("delete", objects.delete_all(&[key, "dir-1/empty"]).await)
}

async fn absent_objects(objects: &Objects) -> Verdict {
    let absent = |outcome: Option<ObjectsError>| matches!(outcome, Some(ObjectsError::NotFound { .. }));
    ensure("get of nothing is NotFound", absent(objects.get("dir-2/none").await.err()))?;
    ensure("get_range of nothing is NotFound", absent(objects.get_range("dir-2/none", 0..1).await.err()))?;
    ensure("head of nothing is NotFound", absent(objects.head("dir-2/none").await.err()))?;
    expect("delete of nothing succeeds", objects.delete("dir-2/none").await)?;
    let empty = expect("list of nothing", objects.list("dir-2", None, 10).await)?;
    ensure("a listing of nothing is empty", empty.objects.is_empty() && !empty.more)
}

async fn creates_are_exclusive(objects: &Objects) -> Verdict {
    let exists = |outcome: Result<(), ObjectsError>| matches!(outcome, Err(ObjectsError::AlreadyExists { .. }));
    expect("create", objects.create("dir-3/one", Bytes::from_static(b"1")).await)?;
    ensure("a second create is refused", exists(objects.create("dir-3/one", Bytes::from_static(b"2")).await))?;
    ensure("a refused create changes nothing", expect("get", objects.get("dir-3/one").await)? == b"1".as_slice())?;
    expect("delete", objects.delete("dir-3/one").await)?;
    expect("create after delete", objects.create("dir-3/one", Bytes::from_static(b"3")).await)?;
    for round in 0..10 {
        let key = format!("dir-3/race-{round}");
        let writers = (0..8u8).map(|n| objects.create(&key, vec![n; 1000]));
        let winners: Vec<u8> = join_all(writers)
            .await
            .into_iter()
            .zip(0u8..)
            .filter(|(outcome, _)| outcome.is_ok())
            .map(|(_, n)| n)
            .collect();
        let [winner] = winners.as_slice() else {
            return Err(format!("{} of 8 racing creates won", winners.len()));
        };
        let stored = expect("get", objects.get(&key).await)?;
        ensure("the winner's bytes stay", stored.as_ref() == vec![*winner; 1000].as_slice())?;
        expect("delete", objects.delete(&key).await)?;
    }
    expect("delete", objects.delete("dir-3/one").await)
}

async fn listings(objects: &Objects) -> Verdict {
    // "dir-4.x" and "dir-4" differ by a character below '/': order is by bytes of the whole key.
    let mut keys: Vec<String> = (0..25).map(|n| format!("dir-4/p/{n:020}")).collect();
    keys.extend(["dir-4/q-1/x".to_owned(), "dir-4/q/x".to_owned(), "dir-4.x/y".to_owned()]);
    for key in keys.iter().rev() {
        expect("put", objects.put(key, Bytes::from_static(b"x")).await)?;
    }
    let names = |listing: &crate::Listing| listing.objects.iter().map(|o| o.key.clone()).collect::<Vec<_>>();
    let all = expect("list", objects.list("dir-4", None, 100).await)?;
    let mut below: Vec<String> = keys.iter().filter(|k| k.starts_with("dir-4/")).cloned().collect();
    below.sort();
    ensure(&format!("a listing is sorted and whole: {:?}", names(&all)), names(&all) == below && !all.more)?;
    let page = expect("list", objects.list("dir-4/p", None, 10).await)?;
    ensure("a bounded listing says that there is more", page.objects.len() == 10 && page.more)?;
    let last = page.objects.last().map(|o| o.key.clone()).unwrap_or_default();
    let rest = expect("list", objects.list("dir-4/p", Some(&last), 100).await)?;
    let expected: Vec<String> = (10..25).map(|n| format!("dir-4/p/{n:020}")).collect();
    ensure("start-after is exclusive and keeps the order", names(&rest) == expected && !rest.more)?;
    let after = expect("list", objects.list("dir-4/p", Some("dir-4/p/00000000000000000009~"), 3).await)?;
    ensure("start-after need not exist", names(&after) == expected.get(..3).unwrap_or_default())?;
    expect("delete", objects.delete_all(&keys).await)
}

async fn large_objects(objects: &Objects) -> Verdict {
    // One below the limit of a single put, one that needs parts and ends in an odd one.
    for size in [100_000, SINGLE_PUT_BYTES + PART_BYTES + 12_345] {
        let piece: Bytes = (0..=255u8).cycle().take(1_000_003).collect::<Vec<u8>>().into();
        let pieces = std::iter::repeat(piece.clone()).flat_map(|p| [Ok(p)]);
        let source = futures::stream::iter(pieces);
        expect("put_stream", objects.put_stream("dir-5/large", size, source).await)?;
        let info = expect("head", objects.head("dir-5/large").await)?;
        ensure("a large object has its size", info.size == size)?;
        let mut at = 0u64;
        while at < size {
            let end = (at + PART_BYTES + 1).min(size);
            let bytes = expect("get_range", objects.get_range("dir-5/large", at..end).await)?;
            let right = bytes.iter().zip(at..).all(|(byte, position)| u64::from(*byte) == position % 1_000_003 % 256);
            ensure("a large object has its bytes", right)?;
            at = end;
        }
        expect("delete", objects.delete("dir-5/large").await)?;
    }
    let short = futures::stream::iter([Ok(Bytes::from_static(b"short"))]);
    ensure("a source that ends early is an error", objects.put_stream("dir-5/short", 10, short).await.is_err())?;
    let nothing = objects.head("dir-5/short").await;
    ensure("a failed upload leaves nothing", matches!(nothing, Err(ObjectsError::NotFound { .. })))
}

async fn prefixes(objects: &Objects) -> Verdict {
    let below = expect("prefix", objects.with_prefix("dir-6/deep"))?;
    expect("put", below.put("x/y", Bytes::from_static(b"z")).await)?;
    ensure("a prefix is part of the key", expect("get", objects.get("dir-6/deep/x/y").await)? == b"z".as_slice())?;
    let listing = expect("list", below.list("", None, 10).await)?;
    ensure("a listing has keys below the prefix", listing.objects.iter().map(|o| o.key.as_str()).eq(["x/y"]))?;
    let outside = expect("prefix", objects.with_prefix("dir-7"))?;
    ensure("another prefix sees nothing", expect("list", outside.list("", None, 10).await)?.objects.is_empty())?;
    expect("delete", below.delete("x/y").await)
}
