//! Who may pass at all. Decides by Host and Origin on an open listener and by bearer token or password otherwise; what a caller may do
//! with which topic is the broker's question.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tidelog_broker::BrokerError;
use tidelog_model::{Caller, Door, KafkaError, Principal, Timestamp};
use tidelog_security::limits::FAILED_AUTHENTICATION_DELAY;
use tidelog_security::{AuditEvent, TokenError};

use crate::activity::Asker;
use crate::context::{Session, Shared};
use crate::error::{ApiError, grpc_error, grpc_status};
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
    if has_allowed_origin(context, request, &host) {
        return Ok(());
    }
    Err("This listener is open and refuses requests from web pages of other sites.")
}

/// Does it come from no web page, from one of this host, or from one that is allowed?
fn has_allowed_origin(context: &Shared, request: &Request, host: &Authority) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or("null");
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()));
    same || context.options.allowed_origins.iter().any(|allowed| allowed == origin)
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

/// Finds out who calls. Where nobody can say who he is everybody is `User:ANONYMOUS`.
pub(crate) async fn authenticate(State(context): State<Shared>, mut request: Request, next: Next) -> Response {
    let grpc = is_grpc(request.headers());
    let door = if grpc { Door::Grpc } else { Door::Rest };
    // A browser adds a password that it knows to whatever a page of another site makes it send.
    let may_use_password = host(&request).is_some_and(|host| has_allowed_origin(&context, &request, &host));
    let (principal, expires) = match identify(&context, request.headers(), may_use_password, peer(&request)).await {
        Ok(identity) => identity,
        // Nobody knows whether it was right.
        Err(Unknown::PutOff(error)) => {
            return match grpc {
                true => grpc_status(&error).into_http::<axum::body::Body>(),
                false => ApiError::from(error).into_response(),
            };
        }
        Err(Unknown::Refused(refusal)) => {
            context.broker.audit(&AuditEvent::Authentication {
                principal: None,
                claimed: refusal.claimed(),
                mechanism: if matches!(refusal, Refusal::Password(_) | Refusal::Foreign) { "BASIC" } else { "BEARER" },
                token_id: None,
                host: peer(&request),
                door,
                reason: Some(&refusal.reason()),
            });
            if matches!(refusal, Refusal::Password(_)) {
                tokio::time::sleep(FAILED_AUTHENTICATION_DELAY).await;
            }
            return refusal.response(&context, grpc);
        }
    };
    let caller = Caller { principal, host: peer(&request), client_id: client_id(request.headers()), door };
    request.extensions_mut().insert(Session { caller: Arc::new(caller), expires });
    if let Some(asker) = request.extensions_mut().remove::<Asker>() {
        asker.is_known();
    }
    next.run(request).await
}

/// Who it is, and until when that holds.
async fn identify(
    context: &Shared,
    headers: &HeaderMap,
    may_use_password: bool,
    from: IpAddr,
) -> Result<(Principal, Option<Timestamp>), Unknown> {
    let basic = context.options.basic;
    if context.authenticator.is_none() && !basic {
        return Ok((Principal::anonymous(), None));
    }
    let (scheme, credentials) = authorization(headers)?;
    if let Some(authenticator) = &context.authenticator
        && scheme.eq_ignore_ascii_case("bearer")
    {
        let identity = authenticator.authenticate(credentials, wall_clock()).map_err(Refusal::Token)?;
        return Ok((identity.principal, Some(identity.expires)));
    }
    if !basic || !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::Malformed.into());
    }
    if !may_use_password {
        return Err(Refusal::Foreign.into());
    }
    let (user, password) = user_and_password(credentials).ok_or(Refusal::Malformed)?;
    match context.broker.check_password(&user, &password, from).await {
        Ok(true) => Ok((Principal::user(&user), None)),
        Ok(false) => Err(Refusal::Password(user).into()),
        Err(error) => Err(Unknown::PutOff(error)),
    }
}

/// RFC 7617 §2, in UTF-8.
fn user_and_password(credentials: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty() && !password.is_empty()).then(|| (user.to_owned(), password.to_owned()))
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
    /// Wrong, or of nobody; for this user.
    Password(String),
    /// A password from a web page of another site.
    Foreign,
}

/// Why nobody knows who calls.
enum Unknown {
    /// It has not said, or not the truth.
    Refused(Refusal),
    /// Too many passwords wait for their check.
    PutOff(BrokerError),
}

impl From<Refusal> for Unknown {
    fn from(refusal: Refusal) -> Self {
        Unknown::Refused(refusal)
    }
}

/// Scheme and credentials of the one header.
fn authorization(headers: &HeaderMap) -> Result<(&str, &str), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Absent)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, credentials) = value.split_once(' ').ok_or(Refusal::Malformed)?;
    Ok((scheme, credentials.trim_matches(' ')))
}

impl Refusal {
    /// Who it was not.
    fn claimed(&self) -> Option<&str> {
        match self {
            Refusal::Password(user) => Some(user),
            Refusal::Absent | Refusal::Malformed | Refusal::Token(_) | Refusal::Foreign => None,
        }
    }

    /// In the words of the audit log.
    fn reason(&self) -> String {
        match self {
            Refusal::Absent => "nothing in Authorization".to_owned(),
            Refusal::Malformed => "Authorization makes no sense".to_owned(),
            Refusal::Token(error) => error.to_string(),
            Refusal::Password(_) => "wrong user or password".to_owned(),
            Refusal::Foreign => "a password from a web page of another site".to_owned(),
        }
    }

    /// 401 with `WWW-Authenticate` (RFC 6750 §3, RFC 7617), or gRPC's UNAUTHENTICATED.
    fn response(&self, context: &Shared, grpc: bool) -> Response {
        let (tokens, basic) = (context.authenticator.is_some(), context.options.basic);
        let wanted = match (tokens, basic) {
            (true, true) => "'Bearer <token>' or 'Basic <user and password>'",
            (_, false) => "'Bearer <token>'",
            (false, true) => "'Basic <user and password>'",
        };
        let (message, challenge) = match self {
            Refusal::Absent if !basic => ("A bearer token is required.".to_owned(), "Bearer realm=\"tidelog\""),
            Refusal::Absent => (format!("The Authorization header must be {wanted}."), "Bearer realm=\"tidelog\""),
            Refusal::Malformed => (
                format!("The Authorization header must be {wanted}."),
                "Bearer realm=\"tidelog\", error=\"invalid_request\"",
            ),
            Refusal::Token(error) => {
                (format!("The bearer token is refused: {error}."), "Bearer realm=\"tidelog\", error=\"invalid_token\"")
            }
            Refusal::Password(_) => ("Wrong user or password.".to_owned(), "Bearer realm=\"tidelog\""),
            Refusal::Foreign => {
                ("Web pages of other sites may not use passwords.".to_owned(), "Bearer realm=\"tidelog\"")
            }
        };
        metrics::counter!("tidelog_http_authentication_failures_total").increment(1);
        let mut response = if grpc {
            grpc_error(KafkaError::SaslAuthenticationFailed, &message).into_http::<axum::body::Body>()
        } else {
            ApiError::new(KafkaError::SaslAuthenticationFailed, message).into_response()
        };
        if tokens {
            response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if basic {
            let challenge = HeaderValue::from_static("Basic realm=\"tidelog\", charset=\"UTF-8\"");
            response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
        }
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
            authorization(&headers)
                .ok()
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| token.to_owned())
        };
        assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("bearer  a.b.c ").as_deref(), Some("a.b.c"));
        for bad in ["Basic dXNlcg==", "Bearer", "a.b.c", ""] {
            assert_eq!(token(bad), None, "{bad}");
        }
        assert!(matches!(authorization(&HeaderMap::new()), Err(Refusal::Absent)));
    }
}
