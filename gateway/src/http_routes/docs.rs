//! The API's description: `/openapi.json` and the pages under `/docs`, which need no network. Lists only what is wired.

use axum::Router;
use tower_http::compression::CompressionLayer;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::context::Shared;
use crate::openapi;

pub(crate) fn routes(context: &Shared) -> Router<Shared> {
    let mut document = openapi::document();
    openapi::keep_wired(&mut document, context.sql.is_some(), context.status.is_some());
    let config = Config::from("/openapi.json").try_it_out_enabled(true).persist_authorization(true);
    let pages = SwaggerUi::new("/docs").url("/openapi.json", document).config(config);
    Router::from(pages).layer(CompressionLayer::new())
}
