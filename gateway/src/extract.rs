//! Parts of a request that several routes read. Decides that whatever is wrong with them is heard as problem+json.

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// The topic's name in the path, percent-decoded.
pub(crate) struct Topic(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Topic {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::invalid(format!("{}.", error.body_text())))?;
        Ok(Topic(name))
    }
}

/// The parameters of the query string; `T` refuses those it does not know.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(parameters) = query.map_err(|error| ApiError::invalid(format!("{}.", error.body_text())))?;
        Ok(Parameters(parameters))
    }
}

/// For routes without parameters: one that is passed over silently (`DELETE …?dry_run=true`) would do harm.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}
