//! Who may pass at all. Decides by Host and Origin on an open listener and by bearer token otherwise; what a caller may do
//! with which topic is the broker's question.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tidelog_model::{Caller, Door, KafkaError, Principal};
use tidelog_security::{AuditEvent, TokenError};

use crate::context::{Session, Shared};
use crate::error::{ApiError, grpc_error};
use crate::media::is_grpc;
use crate::time::wall_clock;

/// Refuses requests that a web page of another site may have caused (DNS rebinding, cross-site posts).
pub(crate) async fn same_site(State(context): State<Shared>, request: Request, next: Next) -> Response {
    if context.options.open_listener
        && let Err(reason) = check_site(&context, &request)
    {
        if is_grpc(request.headers()) {
            return grpc_error(KafkaError::ClusterAuthorizationFailed, reason).into_http::<axum::body::Body>();
        }
        let error = ApiError::with_status(StatusCode::FORBIDDEN, KafkaError::ClusterAuthorizationFailed, reason);
        return error.into_response();
    }
    next.run(request).await
}

fn check_site(context: &Shared, request: &Request) -> Result<(), &'static str> {
    let host = host(request).ok_or("This listener is open: a request must name one Host.")?;
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let ip = name.parse::<IpAddr>().ok();
    let allowed = is_loopback_name(name)
        // A name can be made to point here by whoever owns it; an address cannot.
        || (ip.is_some() && context.options.allow_address_hosts);
    if !allowed {
        return Err(
            "This listener is open and answers only to loopback names. Configure authentication to serve others.",
        );
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("null");
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()));
    if same || context.options.allowed_origins.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err("This listener is open and refuses requests from web pages of other sites.")
}

/// Whom the request is meant for: `:authority` of HTTP/2, the target's of HTTP/1, otherwise its one Host. `None` if it is
/// missing or ambiguous. What a proxy says (X-Forwarded-Host, Forwarded) does not count: anybody can write it.
fn host(request: &Request) -> Option<Authority> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return None;
    }
    match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(first?.as_bytes()).ok(),
    }
}

fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Finds out who calls. Without an authenticator everybody is `User:ANONYMOUS`.
pub(crate) async fn authenticate(State(context): State<Shared>, mut request: Request, next: Next) -> Response {
    let grpc = is_grpc(request.headers());
    let (principal, expires) = match &context.authenticator {
        None => (Principal::anonymous(), None),
        Some(authenticator) => {
            let identity = bearer(request.headers())
                .and_then(|token| authenticator.authenticate(token, wall_clock()).map_err(Refusal::Token));
            match identity {
                Ok(identity) => (identity.principal, Some(identity.expires)),
                Err(refusal) => {
                    context.broker.audit(&AuditEvent::Authentication {
                        principal: None,
                        mechanism: "BEARER",
                        host: peer(&request),
                        door: if grpc { Door::Grpc } else { Door::Rest },
                        reason: Some(&refusal.reason()),
                    });
                    return refusal.response(grpc);
                }
            }
        }
    };
    let door = if grpc { Door::Grpc } else { Door::Rest };
    let caller = Caller { principal, host: peer(&request), client_id: client_id(request.headers()), door };
    request.extensions_mut().insert(Session { caller: Arc::new(caller), expires });
    next.run(request).await
}

fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip().to_canonical())
}

/// What the caller calls itself, shortened: it goes into logs and quotas.
fn client_id(headers: &HeaderMap) -> Arc<str> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    Arc::from(agent.get(..200).unwrap_or(agent))
}

enum Refusal {
    Absent,
    Malformed,
    Token(TokenError),
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Absent)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed);
    }
    Ok(token.trim_matches(' '))
}

impl Refusal {
    /// In the words of the audit log.
    fn reason(&self) -> String {
        match self {
            Refusal::Absent => "no token".to_owned(),
            Refusal::Malformed => "no bearer token".to_owned(),
            Refusal::Token(error) => error.to_string(),
        }
    }

    /// 401 with `WWW-Authenticate` (RFC 6750 §3), or gRPC's UNAUTHENTICATED.
    fn response(&self, grpc: bool) -> Response {
        let (message, challenge) = match self {
            Refusal::Absent => ("A bearer token is required.".to_owned(), "Bearer realm=\"tidelog\""),
            Refusal::Malformed => (
                "The Authorization header must be 'Bearer <token>'.".to_owned(),
                "Bearer realm=\"tidelog\", error=\"invalid_request\"",
            ),
            Refusal::Token(error) => {
                (format!("The bearer token is refused: {error}."), "Bearer realm=\"tidelog\", error=\"invalid_token\"")
            }
        };
        metrics::counter!("tidelog_http_authentication_failures_total").increment(1);
        let mut response = if grpc {
            grpc_error(KafkaError::SaslAuthenticationFailed, &message).into_http::<axum::body::Body>()
        } else {
            ApiError::new(KafkaError::SaslAuthenticationFailed, message).into_response()
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    }
}

/// The path of a URI for logs: queries may carry keys of records.
pub(crate) fn loggable(uri: &Uri) -> &str {
    uri.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        for name in
            ["localhost", "LOCALHOST", "x.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost."]
        {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["", ".", "evil.example", "localhost.evil.example", "notlocalhost", "10.0.0.1", "fe80::1", "127.1"]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn the_authorization_header_has_one_form() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).ok().map(str::to_owned)
        };
        assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("bearer  a.b.c ").as_deref(), Some("a.b.c"));
        for bad in ["Basic dXNlcg==", "Bearer", "a.b.c", ""] {
            assert_eq!(token(bad), None, "{bad}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Err(Refusal::Absent)));
    }
}
