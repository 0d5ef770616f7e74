//! What every handler knows: the broker, the options, the budget, and how a request's caller is found.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidelog_broker::Broker;
use tidelog_model::{Caller, KafkaError, Timestamp};
use tidelog_security::Authenticator;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::error::{ApiError, grpc_error};
use crate::ports::{SqlPort, StatusPort};
use crate::{GatewayInfo, GatewayOptions, Metrics};

/// Shared by all handlers of one router.
pub(crate) struct Context {
    pub(crate) broker: Broker,
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    pub(crate) sql: Option<Arc<dyn SqlPort>>,
    pub(crate) status: Option<Arc<dyn StatusPort>>,
    pub(crate) metrics: Metrics,
    pub(crate) info: GatewayInfo,
    pub(crate) options: GatewayOptions,
    /// For requests.
    pub(crate) budget: Budget,
    /// For what is read, and for answers of SQL.
    pub(crate) answers: Budget,
    pub(crate) shutdown: CancellationToken,
}

/// The state of the router.
pub(crate) type Shared = Arc<Context>;

/// Who calls, and until when its token holds. Put there by the authentication layer; a handler that asks for it on a route
/// without that layer answers 500 instead of letting anybody in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) caller: Arc<Caller>,
    pub(crate) expires: Option<Timestamp>,
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Session>()
            .cloned()
            .ok_or_else(|| ApiError::new(KafkaError::UnknownServerError, "The route is not guarded."))
    }
}

/// Why a long answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// The server stops.
    Stopping,
    /// The caller's token is over.
    Expired,
}

impl Ended {
    /// As gRPC says it.
    pub(crate) fn status(self) -> tonic::Status {
        match self {
            Ended::Stopping => grpc_error(KafkaError::BrokerNotAvailable, "The server stops. Open the stream again."),
            Ended::Expired => {
                let message = "The token has expired. Open the stream again with a new one.";
                grpc_error(KafkaError::SaslAuthenticationFailed, message)
            }
        }
    }
}

impl Session {
    /// Resolves when long answers of this session have to end: at shutdown, or when its token expires.
    pub(crate) async fn ended(expires: Option<Timestamp>, shutdown: CancellationToken) -> Ended {
        let Some(expires) = expires else {
            shutdown.cancelled().await;
            return Ended::Stopping;
        };
        let left = expires.get().saturating_sub(crate::time::wall_clock().get()).max(0);
        // A timer cannot reach further than some years; nobody waits that long.
        let left = std::time::Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(YEAR);
        tokio::select! {
            () = shutdown.cancelled() => Ended::Stopping,
            () = tokio::time::sleep(left) => Ended::Expired,
        }
    }
}

const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
