//! CreateAcls (key 30).

use tidelog_broker::BrokerError;
use tidelog_protocol::messages::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};

use super::acl_filter::binding;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: CreateAclsRequest) -> Result<Waiting, Hangup> {
    let asked: Vec<Result<_, BrokerError>> = message.creations.iter().map(binding).collect();
    let good = asked.iter().filter_map(|rule| rule.as_ref().ok()).cloned().collect();
    let results: Vec<Result<(), BrokerError>> = match request.session.broker.create_acls(&request.caller, good).await {
        Ok(created) => {
            let mut created = created.into_iter();
            asked.into_iter().map(|rule| rule.and_then(|_| created.next().unwrap_or(Ok(())))).collect()
        }
        Err(error) => asked.iter().map(|_| Err(error.clone())).collect(),
    };
    let results = results
        .iter()
        .map(|result| {
            let error = result.as_ref().err();
            AclCreationResult { error_code: code(error), error_message: error.and_then(sentence), ..Default::default() }
        })
        .collect();
    request.ready(&CreateAclsResponse { results, ..Default::default() })
}
