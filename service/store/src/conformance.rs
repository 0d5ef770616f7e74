//! What every metadata store must do: one suite, run against each of them. Uses only keys below a prefix of its own.
//!
//! A check returns the sentence that says what the store did wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata::limits::MAX_TRANSACTION_OPERATIONS;
use tidelog_metadata::port::{
    Change, Changes, Compare, Event, KeyValue, MetadataStore, Outcome, Revision, StoreError, Transaction, Watch,
    Watched, Write,
};

/// What a store did wrong.
pub type Fault = String;

type Checked = Result<(), Fault>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

/// Runs every check. `prefix` must be unused in the store and is left empty.
pub async fn check(store: Arc<dyn MetadataStore>, prefix: &str) -> Checked {
    let named = |name: &str| format!("{prefix}{name}/");
    keys_and_revisions(&*store, &named("keys")).await.map_err(|fault| format!("keys: {fault}"))?;
    compares(&*store, &named("compares")).await.map_err(|fault| format!("compares: {fault}"))?;
    limits(&*store, &named("limits")).await.map_err(|fault| format!("limits: {fault}"))?;
    lists(&*store, &named("lists")).await.map_err(|fault| format!("lists: {fault}"))?;
    watches(&*store, &named("watches")).await.map_err(|fault| format!("watches: {fault}"))?;
    waiting_watch(&store, &named("waits")).await.map_err(|fault| format!("waiting watch: {fault}"))?;
    leases(&*store, &named("leases")).await.map_err(|fault| format!("leases: {fault}"))?;
    contention(&store, &named("contention")).await.map_err(|fault| format!("contention: {fault}"))?;
    for seed in 1..=8 {
        let prefix = named(&format!("model-{seed}"));
        model(&*store, &prefix, seed).await.map_err(|fault| format!("model, seed {seed}: {fault}"))?;
    }
    let left = store.list(prefix).await.map_err(|error| error.to_string())?;
    ensure!(left.entries.is_empty(), "{} keys are left over", left.entries.len());
    Ok(())
}

fn put(key: impl Into<String>, value: &str) -> Write {
    Write::put(key, Bytes::copy_from_slice(value.as_bytes()))
}

async fn commit(store: &dyn MetadataStore, compares: Vec<Compare>, writes: Vec<Write>) -> Result<Revision, Fault> {
    match store.txn(Transaction { compares, writes }).await {
        Ok(Outcome::Committed { revision }) => Ok(revision),
        other => Err(format!("expected a commit, got {other:?}")),
    }
}

async fn get(store: &dyn MetadataStore, key: &str) -> Result<Option<KeyValue>, Fault> {
    store.get(key).await.map_err(|error| error.to_string())
}

async fn next(watch: &mut Box<dyn Watch>) -> Result<Changes, Fault> {
    match tokio::time::timeout(Duration::from_secs(10), watch.next()).await {
        Ok(Ok(Watched::Changes(changes))) => Ok(changes),
        other => Err(format!("expected changes, got {other:?}")),
    }
}

async fn keys_and_revisions(store: &dyn MetadataStore, at: &str) -> Checked {
    let key = format!("{at}one");
    ensure!(get(store, &key).await?.is_none(), "an absent key was found");
    let first = commit(store, vec![], vec![put(&key, "1")]).await?;
    let found = get(store, &key).await?.ok_or("a committed key is absent")?;
    ensure!(found.mod_revision == first, "mod revision {} after a commit at {first}", found.mod_revision);
    ensure!(found.value == "1" && found.key == key && found.lease.is_none(), "read back {found:?}");
    let second = commit(store, vec![], vec![put(&key, ""), put(format!("{at}two"), "2")]).await?;
    ensure!(second > first, "revision {second} after {first}");
    for name in ["one", "two"] {
        let found = get(store, &format!("{at}{name}")).await?.ok_or("a committed key is absent")?;
        ensure!(found.mod_revision == second, "one transaction, two revisions");
    }
    let third = commit(store, vec![], vec![Write::delete(&key), Write::delete(format!("{at}two"))]).await?;
    ensure!(third > second, "a delete did not raise the revision");
    ensure!(get(store, &key).await?.is_none(), "a deleted key was found");
    let nothing = commit(store, vec![], vec![Write::delete(&key)]).await?;
    ensure!(nothing >= third, "the revision went back");
    let again = commit(store, vec![], vec![]).await?;
    ensure!(again >= nothing, "an empty transaction took the revision back");
    Ok(())
}

async fn compares(store: &dyn MetadataStore, at: &str) -> Checked {
    let (a, b) = (format!("{at}a"), format!("{at}b"));
    let first = commit(store, vec![Compare::absent(&a)], vec![put(&a, "1")]).await?;
    let wrong = [
        vec![Compare::absent(&a)],
        vec![Compare::unchanged(&b, first)],
        vec![Compare::unchanged(&a, first), Compare::unchanged(&b, first)],
        vec![Compare::unchanged(&a, Revision(first.get() + 1))],
    ];
    for compares in wrong {
        let shown = format!("{compares:?}");
        let transaction = Transaction { compares, writes: vec![put(&a, "2"), put(&b, "2")] };
        match store.txn(transaction).await {
            Ok(Outcome::Conflict { revision }) => ensure!(revision >= first, "a conflict at {revision}"),
            other => return Err(format!("{shown} gave {other:?}")),
        }
        let found = get(store, &a).await?.ok_or("gone")?;
        ensure!(found.value == "1" && found.mod_revision == first, "a conflict wrote");
        ensure!(get(store, &b).await?.is_none(), "a conflict wrote a part");
    }
    let held = vec![Compare::unchanged(&a, first), Compare::absent(&b)];
    let second = commit(store, held, vec![put(&b, "2")]).await?;
    // Only what is written gets a new mod revision.
    ensure!(get(store, &a).await?.is_some_and(|found| found.mod_revision == first), "a compare changed its key");
    let held = vec![Compare::unchanged(&a, first), Compare::unchanged(&b, second)];
    commit(store, held, vec![Write::delete(&a), Write::delete(&b)]).await?;
    // A key that came back is not the same.
    let back = commit(store, vec![Compare::absent(&a)], vec![put(&a, "1")]).await?;
    ensure!(back > first, "a new key has an old revision");
    commit(store, vec![], vec![Write::delete(&a)]).await?;
    Ok(())
}

async fn limits(store: &dyn MetadataStore, at: &str) -> Checked {
    let many = |n: usize| (0..n).map(|i| put(format!("{at}{i}"), "x")).collect::<Vec<_>>();
    let over = store.txn(Transaction { compares: vec![], writes: many(MAX_TRANSACTION_OPERATIONS + 1) }).await;
    ensure!(matches!(over, Err(StoreError::Invalid(_))), "too many operations gave {over:?}");
    let twice = store.txn(Transaction { compares: vec![], writes: vec![put(at, "1"), put(at, "2")] }).await;
    ensure!(matches!(twice, Err(StoreError::Invalid(_))), "one key twice gave {twice:?}");
    let large = Bytes::from(vec![b'x'; 1024 * 1024]);
    let large = store.txn(Transaction { compares: vec![], writes: vec![Write::put(at, large)] }).await;
    ensure!(matches!(large, Err(StoreError::Invalid(_))), "too many bytes gave {large:?}");
    commit(store, vec![], many(MAX_TRANSACTION_OPERATIONS)).await?;
    let value = Bytes::from(vec![b'x'; 1024 * 1024 - 4096]);
    commit(store, vec![], vec![Write::put(format!("{at}0"), value.clone())]).await?;
    ensure!(get(store, &format!("{at}0")).await?.is_some_and(|found| found.value == value), "a large value changed");
    let all = (0..MAX_TRANSACTION_OPERATIONS).map(|i| Write::delete(format!("{at}{i}"))).collect();
    commit(store, vec![], all).await?;
    Ok(())
}

async fn lists(store: &dyn MetadataStore, at: &str) -> Checked {
    let names = ["b", "a/2", "a/1", "a0", "c", "a"];
    let revision = commit(store, vec![], names.iter().map(|name| put(format!("{at}{name}"), name)).collect()).await?;
    for (prefix, expected) in [
        ("", vec!["a", "a/1", "a/2", "a0", "b", "c"]),
        ("a/", vec!["a/1", "a/2"]),
        ("a", vec!["a", "a/1", "a/2", "a0"]),
        ("d", vec![]),
    ] {
        let listing = store.list(&format!("{at}{prefix}")).await.map_err(|error| error.to_string())?;
        let found: Vec<&str> = listing.entries.iter().filter_map(|entry| entry.key.strip_prefix(at)).collect();
        ensure!(found == expected, "prefix {prefix:?} listed {found:?}");
        ensure!(listing.revision >= revision, "listed at {} after {revision}", listing.revision);
        ensure!(listing.entries.iter().all(|e| e.mod_revision == revision), "wrong mod revisions");
    }
    commit(store, vec![], names.iter().map(|name| Write::delete(format!("{at}{name}"))).collect()).await?;
    Ok(())
}

async fn watches(store: &dyn MetadataStore, at: &str) -> Checked {
    let key = |name: &str| format!("{at}{name}");
    let before = commit(store, vec![], vec![put(key("x"), "0")]).await?;
    let first = commit(store, vec![], vec![put(key("in/a"), "1"), put(key("out"), "1"), put(key("in/b"), "1")]).await?;
    commit(store, vec![], vec![put(key("out"), "2")]).await?;
    let third = commit(store, vec![], vec![Write::delete(key("in/a")), put(key("in/b"), "3")]).await?;
    let event = |name: &str, value: Option<&str>| Event {
        key: key(name),
        change: value.map_or(Change::Delete, |value| Change::Put {
            value: Bytes::copy_from_slice(value.as_bytes()),
            lease: None,
        }),
    };
    let sorted = |mut changes: Changes| {
        changes.events.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    };
    let mut watch = store.watch(&key("in/"), before).await.map_err(|error| error.to_string())?;
    let told = sorted(next(&mut watch).await?);
    let expected = Changes { revision: first, events: vec![event("in/a", Some("1")), event("in/b", Some("1"))] };
    ensure!(told == expected, "the watch told {told:?}, not {expected:?}");
    let told = sorted(next(&mut watch).await?);
    let expected = Changes { revision: third, events: vec![event("in/a", None), event("in/b", Some("3"))] };
    ensure!(told == expected, "the watch told {told:?}, not {expected:?}");
    // `after` is exclusive.
    let mut late = store.watch(&key("in/"), first).await.map_err(|error| error.to_string())?;
    ensure!(next(&mut late).await?.revision == third, "a watch after {first} told something else than {third}");
    let all = ["x", "out", "in/b"].map(|name| Write::delete(key(name)));
    let last = commit(store, vec![], all.to_vec()).await?;
    for watch in [&mut watch, &mut late] {
        ensure!(next(watch).await?.revision == last, "a later change is missing");
    }
    Ok(())
}

async fn waiting_watch(store: &Arc<dyn MetadataStore>, at: &str) -> Checked {
    let now = store.list(at).await.map_err(|error| error.to_string())?.revision;
    let mut watch = store.watch(at, now).await.map_err(|error| error.to_string())?;
    // A call that is given up loses nothing.
    let given_up = tokio::time::timeout(Duration::from_millis(1), watch.next()).await;
    ensure!(given_up.is_err(), "a watch told {given_up:?} before anything happened");
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    let revision = commit(&**store, vec![], vec![put(format!("{at}k"), "1")]).await?;
    let told = waiting.await.map_err(|error| error.to_string())??;
    ensure!(told.revision == revision, "woken for {} instead of {revision}", told.revision);
    commit(&**store, vec![], vec![Write::delete(format!("{at}k"))]).await?;
    Ok(())
}

async fn leases(store: &dyn MetadataStore, at: &str) -> Checked {
    let key = |name: &str| format!("{at}{name}");
    let ttl = Duration::from_secs(60);
    let lease = store.grant(ttl).await.map_err(|error| error.to_string())?;
    let other = store.grant(ttl).await.map_err(|error| error.to_string())?;
    ensure!(lease != other, "two leases with one id");
    store.keep_alive(lease).await.map_err(|error| error.to_string())?;
    let bound = |name: &str, lease| Write::Put { key: key(name), value: Bytes::from_static(b"1"), lease: Some(lease) };
    let writes = vec![bound("a", lease), bound("b", lease), bound("c", lease), bound("d", other), put(key("e"), "1")];
    let revision = commit(store, vec![], writes).await?;
    ensure!(get(store, &key("a")).await?.is_some_and(|found| found.lease == Some(lease)), "the binding is not told");
    // A later put binds anew, or unbinds.
    let revision = commit(store, vec![Compare::unchanged(key("b"), revision)], vec![put(key("b"), "2")]).await?;
    let mut watch = store.watch(at, revision).await.map_err(|error| error.to_string())?;
    store.revoke(lease).await.map_err(|error| error.to_string())?;
    let told = next(&mut watch).await?;
    let mut gone: Vec<&str> = told.events.iter().filter_map(|event| event.key.strip_prefix(at)).collect();
    gone.sort_unstable();
    ensure!(gone == ["a", "c"], "revoking deleted {gone:?}");
    ensure!(told.events.iter().all(|event| event.change == Change::Delete), "revoking did not delete");
    for (name, there) in [("a", false), ("b", true), ("c", false), ("d", true), ("e", true)] {
        ensure!(get(store, &key(name)).await?.is_some() == there, "{name} after revoking");
    }
    let unknown = Err(StoreError::LeaseNotFound(lease));
    ensure!(store.keep_alive(lease).await == unknown, "a revoked lease is kept alive");
    ensure!(store.revoke(lease).await == unknown, "a lease is revoked twice");
    let bind = store.txn(Transaction { compares: vec![], writes: vec![bound("a", lease), put(key("e"), "2")] }).await;
    ensure!(bind == Err(StoreError::LeaseNotFound(lease)), "binding to a revoked lease gave {bind:?}");
    ensure!(get(store, &key("e")).await?.is_some_and(|found| found.value == "1"), "a refused transaction wrote");
    store.revoke(other).await.map_err(|error| error.to_string())?;
    commit(store, vec![], vec![Write::delete(key("b")), Write::delete(key("e"))]).await?;
    Ok(())
}

/// Several tasks raise one counter by compare-and-set: no step is lost.
async fn contention(store: &Arc<dyn MetadataStore>, at: &str) -> Checked {
    const TASKS: u32 = 4;
    const STEPS: u32 = 10;
    let key = format!("{at}counter");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < STEPS {
                    let found = get(&*store, &key).await?;
                    let (revision, count) = match &found {
                        None => (Revision::ZERO, 0),
                        Some(found) => {
                            let text = std::str::from_utf8(&found.value).map_err(|error| error.to_string())?;
                            (found.mod_revision, text.parse::<u32>().map_err(|error| error.to_string())?)
                        }
                    };
                    let transaction = Transaction {
                        compares: vec![Compare::unchanged(&key, revision)],
                        writes: vec![put(&key, &(count + 1).to_string())],
                    };
                    match store.txn(transaction).await.map_err(|error| error.to_string())? {
                        Outcome::Committed { .. } => done += 1,
                        Outcome::Conflict { .. } => {}
                        Outcome::Unknown => return Err("an answer was lost".to_string()),
                    }
                }
                Ok::<(), Fault>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    let found = get(&**store, &key).await?.ok_or("the counter is gone")?;
    ensure!(found.value == (TASKS * STEPS).to_string(), "counted to {:?}", found.value);
    commit(&**store, vec![], vec![Write::delete(&key)]).await?;
    Ok(())
}

/// A random sequence of transactions does to the store what it does to a map; a watch that applies it all ends with the same map.
async fn model(store: &dyn MetadataStore, at: &str, seed: u64) -> Checked {
    let mut random = seed;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut map: BTreeMap<String, (Bytes, Revision)> = BTreeMap::new();
    let start = store.list(at).await.map_err(|error| error.to_string())?.revision;
    let mut watch = store.watch(at, start).await.map_err(|error| error.to_string())?;
    let mut last = start;
    for step in 0..60 {
        let mut transaction = Transaction::default();
        for _ in 0..draw(3) {
            let key = format!("{at}{}", draw(5));
            let known = map.get(&key).map_or(Revision::ZERO, |(_, revision)| *revision);
            let revision = if draw(4) == 0 { Revision(known.get() + 1) } else { known };
            transaction.compares.push(Compare::unchanged(key, revision));
        }
        let first = draw(5);
        for n in 0..draw(4) {
            let key = format!("{at}{}", (first + n) % 5);
            let value = Bytes::from(format!("{step}"));
            transaction.writes.push(if draw(3) == 0 { Write::delete(key) } else { Write::put(key, value) });
        }
        let revision_of = |key: &str| map.get(key).map_or(Revision::ZERO, |(_, revision)| *revision);
        let holds = transaction.compares.iter().all(|compare| revision_of(&compare.key) == compare.mod_revision);
        match store.txn(transaction.clone()).await.map_err(|error| error.to_string())? {
            Outcome::Committed { revision } if holds => {
                ensure!(revision >= last, "step {step}: the revision went back");
                for write in &transaction.writes {
                    match write {
                        Write::Put { key, value, .. } => {
                            ensure!(revision > last, "step {step}: a put did not raise the revision");
                            map.insert(key.clone(), (value.clone(), revision));
                        }
                        Write::Delete { key } => {
                            map.remove(key);
                        }
                    }
                }
                last = revision;
            }
            Outcome::Conflict { .. } if !holds => {}
            other => return Err(format!("step {step}: {other:?}, the model says {holds}")),
        }
    }
    let listing = store.list(at).await.map_err(|error| error.to_string())?;
    let found: BTreeMap<String, (Bytes, Revision)> =
        listing.entries.into_iter().map(|entry| (entry.key, (entry.value, entry.mod_revision))).collect();
    ensure!(found == map, "the store holds {found:?}, the model {map:?}");
    // One more change marks the watch's end.
    let end = commit(store, vec![], vec![put(format!("{at}end"), "")]).await?;
    let mut watched: BTreeMap<String, (Bytes, Revision)> = BTreeMap::new();
    let mut seen = start;
    loop {
        let changes = next(&mut watch).await?;
        ensure!(changes.revision > seen && !changes.events.is_empty(), "the watch is out of order");
        seen = changes.revision;
        if seen == end {
            break;
        }
        for event in changes.events {
            match event.change {
                Change::Put { value, .. } => watched.insert(event.key, (value, seen)),
                Change::Delete => watched.remove(&event.key),
            };
        }
    }
    ensure!(watched == map, "the watch tells {watched:?}, the model {map:?}");
    let mut writes: Vec<Write> = map.keys().map(Write::delete).collect();
    writes.push(Write::delete(format!("{at}end")));
    commit(store, vec![], writes).await?;
    Ok(())
}
