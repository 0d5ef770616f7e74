//! Is this a store that manifests can live in? Asked once, when it is opened; leaves nothing behind.

use futures::future::join_all;

use crate::limits::PROBE_WRITERS;
use crate::{Objects, ObjectsError};

/// Puts create-only twice in a row and by several writers at once; exactly one may win each time.
pub(crate) async fn probe(objects: &Objects) -> Result<(), ObjectsError> {
    let key = format!("probe/{}", uuid::Uuid::new_v4().simple());
    let race = format!("{key}-race");
    let verdict = tried(objects, &key, &race).await;
    let cleaned = objects.delete_all(&[key.as_str(), race.as_str()]).await;
    verdict?;
    cleaned
}

async fn tried(objects: &Objects, key: &str, race: &str) -> Result<(), ObjectsError> {
    create(objects, key, "first").await?;
    match objects.create(key, "second".as_bytes().to_vec()).await {
        Err(ObjectsError::AlreadyExists { .. }) => {}
        Ok(()) => return Err(ignored(objects, "a second create-only put of one key was accepted")),
        Err(other) => return Err(other),
    }
    if objects.get(key).await?.as_ref() != b"first" {
        return Err(ignored(objects, "a refused create-only put replaced the object"));
    }
    let writers = (0..PROBE_WRITERS).map(|n| objects.create(race, format!("writer {n}").into_bytes()));
    let outcomes = join_all(writers).await;
    let winners: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| n).collect();
    for outcome in &outcomes {
        match outcome {
            Ok(()) | Err(ObjectsError::AlreadyExists { .. } | ObjectsError::Unavailable(_)) => {}
            Err(other) => return Err(other.clone()),
        }
    }
    match winners.as_slice() {
        // All conflicts or lost answers: no proof of a fault, and the sequential try above was right.
        [] => Ok(()),
        [winner] if objects.get(race).await?.as_ref() == format!("writer {winner}").as_bytes() => Ok(()),
        [_] => Err(ignored(objects, "the winner of a race between create-only puts was overwritten")),
        _ => Err(ignored(objects, &format!("{} of {PROBE_WRITERS} create-only puts of one key won", winners.len()))),
    }
}

/// The first create: a lost answer makes the next one "already exists", which is the same to us.
async fn create(objects: &Objects, key: &str, text: &str) -> Result<(), ObjectsError> {
    let mut last = ObjectsError::Unavailable("not tried".to_owned());
    for _ in 0..3 {
        match objects.create(key, text.as_bytes().to_vec()).await {
            Ok(()) | Err(ObjectsError::AlreadyExists { .. }) => return Ok(()),
            Err(error) if error.is_retriable() => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn ignored(objects: &Objects, what: &str) -> ObjectsError {
    ObjectsError::Unusable(format!(
        "{}: this store ignores the header `If-None-Match: *` ({what}). Two writers could overwrite each other's manifest; use a \
         store with conditional puts (AWS S3, MinIO, versitygw or file://).",
        objects.url()
    ))
}
