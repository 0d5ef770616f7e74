//! DescribeAcls (key 29).

use tidelog_model::AclBinding;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse};

use super::acl_filter::of_describe;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeAclsRequest) -> Result<Waiting, Hangup> {
    let broker = &request.session.broker;
    let found = of_describe(&message).and_then(|filter| broker.describe_acls(&request.caller, &filter));
    request.ready(&match found {
        Ok(rules) => DescribeAclsResponse { error_message: None, resources: by_resource(rules), ..Default::default() },
        Err(error) => DescribeAclsResponse {
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    })
}

/// Rules come in the order of their resources.
fn by_resource(rules: Vec<AclBinding>) -> Vec<DescribeAclsResource> {
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    for rule in rules {
        let acl = AclDescription {
            principal: Str::from(&rule.principal),
            host: Str::from(&rule.host),
            operation: rule.operation.code(),
            permission_type: rule.permission.code(),
            ..Default::default()
        };
        let same = |last: &&mut DescribeAclsResource| {
            last.resource_type == rule.resource.code()
                && last.pattern_type == rule.pattern.code()
                && last.resource_name.as_str() == rule.name
        };
        match resources.last_mut().filter(same) {
            Some(last) => last.acls.push(acl),
            None => resources.push(DescribeAclsResource {
                resource_type: rule.resource.code(),
                resource_name: Str::from(&rule.name),
                pattern_type: rule.pattern.code(),
                acls: vec![acl],
                ..Default::default()
            }),
        }
    }
    resources
}
