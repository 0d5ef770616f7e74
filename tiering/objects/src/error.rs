//! What can go wrong with an object store, as callers have to tell it apart.

/// Why an operation on the store failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectsError {
    /// No object has this key.
    #[error("object {key} does not exist")]
    NotFound {
        /// The key asked for, without the store's prefix.
        key: String,
    },
    /// A create-only put found an object, or (S3's 409) another create of the same key in flight. Read to tell them apart.
    #[error("object {key} already exists")]
    AlreadyExists {
        /// The key of the put.
        key: String,
    },
    /// No answer, or one that says "later". A put may have happened all the same.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
    /// The credentials are missing, wrong or not sufficient.
    #[error("the object store denied access: {0}")]
    Denied(String),
    /// The URL, an option or the store itself cannot be used; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// Anything else; trying again will not help.
    #[error("object store error: {0}")]
    Other(String),
}

impl ObjectsError {
    /// May the same call succeed later without a change?
    pub fn is_retriable(&self) -> bool {
        matches!(self, ObjectsError::Unavailable(_))
    }

    pub(crate) fn from_store(key: &str, error: object_store::Error) -> Self {
        use object_store::Error;
        match error {
            Error::NotFound { .. } if is_absent_object(&error) => ObjectsError::NotFound { key: key.to_owned() },
            Error::NotFound { .. } => no_bucket(),
            Error::AlreadyExists { .. } => ObjectsError::AlreadyExists { key: key.to_owned() },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ObjectsError::Denied(chain(&error)),
            Error::Generic { .. } | Error::JoinError { .. } => {
                let text = chain(&error);
                // The client reports a refused request (4xx), and a refused LIST of any kind, only in its text; everything else generic is
                // the way to the store.
                let status = |code: &str| text.contains(&format!("status code: {code}"));
                if text.contains(NO_BUCKET) {
                    no_bucket()
                } else if status("401") || status("403") {
                    ObjectsError::Denied(text)
                } else if status("4") && !status("408") && !text.contains(" 429") {
                    ObjectsError::Other(text)
                } else {
                    ObjectsError::Unavailable(text)
                }
            }
            other => ObjectsError::Other(chain(&other)),
        }
    }
}

/// S3's word for a bucket that is not there, in the body of a 404 that says of an absent object `NoSuchKey`.
const NO_BUCKET: &str = "<Code>NoSuchBucket</Code>";

/// Somebody deleted it while we ran. Nothing in it may be taken for absent, and it may come back.
fn no_bucket() -> ObjectsError {
    ObjectsError::Unavailable("its bucket does not exist any more".to_owned())
}

/// Is there no such object, in a store that is there?
pub(crate) fn is_absent_object(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { source, .. } if !source.to_string().contains(NO_BUCKET))
}

/// The error with its sources, each once, as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let part = inner.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = inner.source();
    }
    text.replace('\n', " ")
}
