//! Decides what a request's body is and what answer its sender wants, from Content-Type and Accept. Pure.

use http::{HeaderMap, header};

/// How a request's body is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Media {
    /// `application/json` or `application/…+json`.
    Json,
    /// JSON values one after another.
    Ndjson,
    /// No type, or the form type that curl sends for `-d`: tried as JSON.
    Unsaid,
    /// Anything else: bytes.
    Other,
}

/// The body's kind by Content-Type; parameters such as `charset=utf-8` do not count.
pub(crate) fn of_request(headers: &HeaderMap) -> Media {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Media::Unsaid };
    let essence = essence(value.to_str().unwrap_or("unreadable"));
    match essence.as_str() {
        "" | "application/x-www-form-urlencoded" => Media::Unsaid,
        "application/json" | "text/json" => Media::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Media::Ndjson
        }
        other if other.starts_with("application/") && other.ends_with("+json") => Media::Json,
        _ => Media::Other,
    }
}

fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// True for gRPC in all its variants (`application/grpc`, `application/grpc+proto`, `application/grpc-web`): whoever sends
/// one reads a gRPC status.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    grpc_variant(headers).is_some_and(|variant| variant.is_empty() || variant.starts_with(['+', '-']))
}

/// True for the one variant that is spoken here: protobuf in gRPC's own frames.
pub(crate) fn is_grpc_proto(headers: &HeaderMap) -> bool {
    grpc_variant(headers).is_some_and(|variant| variant.is_empty() || variant == "+proto")
}

fn grpc_variant(headers: &HeaderMap) -> Option<String> {
    let value = essence(headers.get(header::CONTENT_TYPE)?.to_str().ok()?);
    value.strip_prefix("application/grpc").map(str::to_owned)
}

/// True if Accept names this media type itself, wildcards not counted.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| essence(range) == media_type && !refused(range))
}

/// `;q=0` means "not this".
fn refused(range: &str) -> bool {
    range.split(';').skip(1).filter_map(|parameter| parameter.trim().strip_prefix("q=")).any(|q| q.parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn kinds_of_bodies() {
        let cases = [
            ("application/json", Media::Json),
            ("Application/JSON; charset=utf-8", Media::Json),
            ("application/cloudevents+json", Media::Json),
            ("application/x-ndjson", Media::Ndjson),
            ("application/x-www-form-urlencoded", Media::Unsaid),
            ("text/plain", Media::Other),
            ("image/svg+json", Media::Other),
            ("application/octet-stream", Media::Other),
        ];
        for (value, expected) in cases {
            assert_eq!(of_request(&headers(header::CONTENT_TYPE, value)), expected, "{value}");
        }
        assert_eq!(of_request(&HeaderMap::new()), Media::Unsaid);
    }

    #[test]
    fn accepted_types() {
        let sse = |value: &str| accepts(&headers(header::ACCEPT, value), "text/event-stream");
        assert!(sse("text/event-stream"));
        assert!(sse("text/html, Text/Event-Stream;q=0.5"));
        assert!(!sse("*/*"));
        assert!(!sse("text/event-stream;q=0"));
        assert!(is_grpc(&headers(header::CONTENT_TYPE, "application/grpc+proto")));
        for (kind, any, proto) in [
            ("application/grpc", true, true),
            ("Application/GRPC+proto; x=y", true, true),
            ("application/grpc+json", true, false),
            ("application/grpc-web", true, false),
            ("application/grpcx", false, false),
            ("application/json", false, false),
        ] {
            let headers = headers(header::CONTENT_TYPE, kind);
            assert_eq!((is_grpc(&headers), is_grpc_proto(&headers)), (any, proto), "{kind}");
        }
    }
}
