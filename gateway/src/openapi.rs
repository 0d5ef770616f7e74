//! The OpenAPI document, generated from the handlers. Decides what is in it; `openapi/openapi.json` is its copy.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::http_routes::{events, health, query, status, topics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidelog",
        description = "Events over REST: the same topics that Kafka clients and gRPC use. Errors are problem+json (RFC 9457) \
                       with Kafka's name of the error in `error_code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        events::publish, events::read,
        topics::list, topics::create, topics::get_one, topics::update, topics::delete,
        query::query, status::tier_status, status::table_status,
        health::index, health::healthz, health::readyz, health::render_metrics,
    ),
    components(schemas(crate::events::line::UndecodableLine)),
    modifiers(&Schemes, &AnyError),
    security(("bearer" = []), ("basic" = [])),
    tags(
        (name = "events", description = "Publish and read events."),
        (name = "topics", description = "Create, look at, change and delete topics."),
        (name = "query", description = "SQL over topics."),
        (name = "server", description = "The server itself."),
    ),
)]
struct Api;

/// How callers may say who they are; a server has both, one or neither.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        components.add_security_scheme("basic", SecurityScheme::Http(scheme));
    }
}

/// Every operation may fail in ways that are not its own: a Host or Origin that is not allowed, a full server, a time-out, a
/// mistake of ours. The shape is the same as that of the errors it lists.
struct AnyError;

impl Modify for AnyError {
    fn modify(&self, document: &mut Document) {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let error = ResponseBuilder::new()
            .description("Any other error; 429 and 503 name the time to wait in Retry-After.")
            .content("application/problem+json", problem)
            .build();
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                operation.responses.responses.insert("default".to_owned(), error.clone().into());
            }
        }
    }
}

/// The whole document, with every route that can be wired.
pub fn document() -> Document {
    Api::openapi()
}

/// Takes out what this server has not wired.
pub(crate) fn keep_wired(document: &mut Document, sql: bool, status: bool) {
    if !sql {
        document.paths.paths.remove("/v1/query");
    }
    if !status {
        document.paths.paths.remove("/v1/tier");
        document.paths.paths.remove("/v1/tables");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.json");

    #[test]
    fn the_checked_in_document_is_current() {
        let mut text = document().to_pretty_json().unwrap();
        text.push('\n');
        if std::env::var_os("TIDELOG_UPDATE_OPENAPI").is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let file = std::fs::read_to_string(FILE).unwrap();
        assert!(
            file == text,
            "openapi/openapi.json is stale; run this test with TIDELOG_UPDATE_OPENAPI=1 and review the diff"
        );
    }

    #[test]
    fn every_operation_lists_what_its_layers_answer() {
        let document = serde_json::to_value(document()).unwrap();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let problem = "#/components/schemas/Problem";
                let error = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(error, problem, "{method} {path}");
                let mut expected = vec![];
                if path.starts_with("/v1/") {
                    expected.extend(["400", "401", "403"]);
                }
                if operation.get("requestBody").is_some() {
                    expected.extend(["408", "413", "415", "503"]);
                }
                for status in expected {
                    assert!(operation["responses"].get(status).is_some(), "{method} {path} {status}");
                }
            }
        }
    }

    #[test]
    fn only_what_is_wired_is_described() {
        let mut document = document();
        keep_wired(&mut document, false, false);
        let paths: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
        assert!(!paths.contains(&"/v1/query") && !paths.contains(&"/v1/tier") && !paths.contains(&"/v1/tables"));
        assert!(paths.contains(&"/v1/topics/{topic}/events"));
    }
}
