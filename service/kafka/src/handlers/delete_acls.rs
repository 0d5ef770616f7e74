//! DeleteAcls (key 31).

use tidelog_broker::BrokerError;
use tidelog_model::AclBinding;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse,
};

use super::acl_filter::of_delete;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DeleteAclsRequest) -> Result<Waiting, Hangup> {
    let asked: Vec<Result<_, BrokerError>> = message.filters.iter().map(of_delete).collect();
    let good = asked.iter().filter_map(|filter| filter.as_ref().ok()).cloned().collect();
    let results: Vec<Result<Vec<AclBinding>, BrokerError>> =
        match request.session.broker.delete_acls(&request.caller, good).await {
            Ok(found) => {
                let mut found = found.into_iter();
                asked.into_iter().map(|filter| filter.map(|_| found.next().unwrap_or_default())).collect()
            }
            Err(error) => asked.iter().map(|_| Err(error.clone())).collect(),
        };
    let filter_results = results.into_iter().map(result).collect();
    request.ready(&DeleteAclsResponse { filter_results, ..Default::default() })
}

fn result(result: Result<Vec<AclBinding>, BrokerError>) -> DeleteAclsFilterResult {
    match result {
        Ok(rules) => DeleteAclsFilterResult {
            error_message: None,
            matching_acls: rules.iter().map(removed).collect(),
            ..Default::default()
        },
        Err(error) => DeleteAclsFilterResult {
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    }
}

fn removed(rule: &AclBinding) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: rule.resource.code(),
        resource_name: Str::from(&rule.name),
        pattern_type: rule.pattern.code(),
        principal: Str::from(&rule.principal),
        host: Str::from(&rule.host),
        operation: rule.operation.code(),
        permission_type: rule.permission.code(),
        ..Default::default()
    }
}
