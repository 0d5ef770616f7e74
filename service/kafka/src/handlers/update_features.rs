//! UpdateFeatures (key 57).

use tidelog_metadata::features::FeatureChange;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: UpdateFeaturesRequest) -> Result<Waiting, Hangup> {
    let version = request.header.version;
    let update = |update: &FeatureUpdateKey| {
        let change = if version > 0 {
            FeatureChange::from_code(update.upgrade_type)
        } else if update.allow_downgrade {
            Some(FeatureChange::Downgrade)
        } else {
            Some(FeatureChange::Upgrade)
        };
        (update.feature.to_string(), update.max_version_level, change)
    };
    let updates: Vec<_> = message.feature_updates.iter().map(update).collect();
    let error = request.session.broker.update_features(&request.caller, &updates, message.validate_only).await.err();
    let (error_code, error_message) = (code(error.as_ref()), error.as_ref().and_then(sentence));
    let result = |feature: Str| UpdatableFeatureResult { feature, ..Default::default() };
    // An error is that of all of them: nothing has changed.
    let updated = message.feature_updates.into_iter().filter(|_| error.is_none());
    request.ready(&UpdateFeaturesResponse {
        error_code,
        error_message,
        results: updated.map(|update| result(update.feature)).collect(),
        ..Default::default()
    })
}
