//! Every REST route × every way to ask wrongly, as data: the gateway's own tests run it without a network, the process test
//! against the real binary. A server that runs it needs a topic `t`, SQL and status wired, a limit of 4 MiB for bodies, and an
//! authenticator for HS256, issuer `us`, audience `tidelog`.

use crate::Value;

/// The token that a request carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    Good,
    None,
    Garbage,
    Expired,
    NotYetValid,
    WrongSignature,
    AlgNone,
    WrongAudience,
}

impl Token {
    /// All but the good one.
    pub(crate) const REFUSED: [Token; 7] = [
        Token::None,
        Token::Garbage,
        Token::Expired,
        Token::NotYetValid,
        Token::WrongSignature,
        Token::AlgNone,
        Token::WrongAudience,
    ];
}

/// One request and what it must hear.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) token: Token,
    pub(crate) status: u16,
    /// `error_code` of the problem, if the status is one.
    pub(crate) error_code: &'static str,
}

struct Route {
    method: &'static str,
    path: &'static str,
    good: (&'static str, &'static str, u16),
    /// Query and body that make no sense.
    malformed: (&'static str, &'static str),
    /// Largest body, if the route reads one.
    limit: Option<usize>,
    /// A content type that the route refuses, with a body of that type.
    wrong_type: Option<(&'static str, &'static str)>,
}

const JSON: &str = "application/json";

const ROUTES: [Route; 11] = [
    Route {
        method: "GET",
        path: "/v1/topics",
        good: ("", "", 200),
        malformed: ("?limit=x", ""),
        limit: None,
        wrong_type: None,
    },
    Route {
        method: "POST",
        path: "/v1/topics",
        good: (JSON, r#"{"name":"new"}"#, 201),
        malformed: ("", "{"),
        limit: Some(256 * 1024),
        wrong_type: Some(("text/plain", r#"{"name":"other"}"#)),
    },
    Route {
        method: "GET",
        path: "/v1/topics/t",
        good: ("", "", 200),
        malformed: ("", ""),
        limit: None,
        wrong_type: None,
    },
    Route {
        method: "PATCH",
        path: "/v1/topics/t",
        good: (JSON, "{}", 200),
        malformed: ("", r#"{"partitions":"many"}"#),
        limit: Some(256 * 1024),
        wrong_type: Some(("text/plain", "{}")),
    },
    Route {
        method: "DELETE",
        path: "/v1/topics/gone",
        good: ("", "", 404),
        malformed: ("", ""),
        limit: None,
        wrong_type: None,
    },
    Route {
        method: "POST",
        path: "/v1/topics/t/events",
        good: (JSON, "{}", 200),
        malformed: ("", "{"),
        limit: Some(4 * 1024 * 1024),
        wrong_type: Some(("application/x-www-form-urlencoded", "a=b")),
    },
    Route {
        method: "GET",
        path: "/v1/topics/t/events",
        good: ("", "", 200),
        malformed: ("?from=yesterday", ""),
        limit: None,
        wrong_type: None,
    },
    Route {
        method: "POST",
        path: "/v1/query",
        good: (JSON, r#"{"sql":"SELECT 1"}"#, 200),
        malformed: ("", r#"{"sql":1}"#),
        limit: Some(256 * 1024),
        wrong_type: Some(("text/plain", "SELECT 1")),
    },
    Route { method: "GET", path: "/metrics", good: ("", "", 200), malformed: ("", ""), limit: None, wrong_type: None },
    Route { method: "GET", path: "/v1/tier", good: ("", "", 200), malformed: ("", ""), limit: None, wrong_type: None },
    Route {
        method: "GET",
        path: "/v1/tables",
        good: ("", "", 200),
        malformed: ("", ""),
        limit: None,
        wrong_type: None,
    },
];

/// Routes that need no token.
pub(crate) const OPEN: [&str; 5] = ["/", "/healthz", "/readyz", "/openapi.json", "/docs/"];

/// Checks that the table has every operation of an OpenAPI document and no other, so that a new route cannot be forgotten.
pub(crate) fn assert_complete(document: &Value) {
    let mut missing: Vec<&Route> = ROUTES.iter().collect();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"] == Value::Array(vec![Value::Object(Default::default())]) {
                assert!(OPEN.contains(&path.as_str()), "{path} is open, but not in the list of those that are");
                continue;
            }
            let found =
                missing.iter().position(|route| route.method.eq_ignore_ascii_case(method) && is_of(route.path, path));
            missing.remove(found.unwrap_or_else(|| panic!("{method} {path} is not in the table")));
        }
    }
    let missing: Vec<String> = missing.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert!(missing.is_empty(), "in the table, but not in the document: {missing:?}");
}

/// Is this path one of the template's, `/v1/topics/{topic}`?
fn is_of(path: &str, template: &str) -> bool {
    let (mut path, mut template) = (path.split('/'), template.split('/'));
    loop {
        match (path.next(), template.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern)) if pattern.starts_with('{') || part == pattern => {}
            _ => return false,
        }
    }
}

/// The whole table.
pub(crate) fn table() -> Vec<Case> {
    ROUTES.iter().flat_map(cases_of).collect()
}

fn cases_of(route: &Route) -> Vec<Case> {
    let (content_type, body, status) = route.good;
    let good = Case {
        name: format!("{} {}: good", route.method, route.path),
        method: route.method,
        path: route.path.to_owned(),
        content_type,
        body: body.as_bytes().to_vec(),
        token: Token::Good,
        status,
        error_code: if status == 404 { "UNKNOWN_TOPIC_OR_PARTITION" } else { "" },
    };
    let named = |name: &str| Case { name: format!("{} {}: {name}", route.method, route.path), ..good.clone() };
    let mut cases = vec![good.clone()];
    for token in Token::REFUSED {
        let error_code = "SASL_AUTHENTICATION_FAILED";
        cases.push(Case { token, status: 401, error_code, ..named(&format!("{token:?}")) });
        // With a slash at its end a route is the same, and as guarded.
        let path = format!("{}/", route.path);
        cases.push(Case { token, status: 401, error_code, path, ..named(&format!("slash, {token:?}")) });
    }
    if route.malformed != ("", "") {
        let (query, body) = route.malformed;
        let body = body.as_bytes().to_vec();
        let path = format!("{}{query}", route.path);
        cases.push(Case { path, body, status: 400, error_code: "INVALID_REQUEST", ..named("malformed") });
    }
    if let Some(limit) = route.limit {
        let body = vec![b' '; limit + 1];
        cases.push(Case { body, status: 413, error_code: "MESSAGE_TOO_LARGE", ..named("too large") });
    }
    if let Some((content_type, body)) = route.wrong_type {
        let body = body.as_bytes().to_vec();
        let error_code = "INVALID_REQUEST";
        cases.push(Case { content_type, body, status: 415, error_code, ..named("wrong media type") });
    }
    let path = format!("{}/no/such/path", route.path);
    cases.push(Case { path, status: 404, error_code: "RESOURCE_NOT_FOUND", ..named("unknown path") });
    cases
}
