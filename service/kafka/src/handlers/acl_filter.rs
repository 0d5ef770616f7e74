//! Access rules and filters as the wire names them.

use tidelog_broker::BrokerError;
use tidelog_metadata::decide::{AclFilter, PatternFilter};
use tidelog_model::{AclBinding, AclOperation, KafkaError, PatternType, Permission, ResourceType};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{AclCreation, DeleteAclsFilter, DescribeAclsRequest};

/// "Any" in Kafka's numbers of kinds, operations and permissions.
const ANY: i8 = 1;

/// The rule that a client describes.
pub(crate) fn binding(asked: &AclCreation) -> Result<AclBinding, BrokerError> {
    Ok(AclBinding {
        resource: ResourceType::from_code(asked.resource_type).ok_or_else(|| invalid("Invalid resource type"))?,
        pattern: PatternType::from_code(asked.resource_pattern_type)
            .ok_or_else(|| invalid("Invalid resource pattern type"))?,
        name: asked.resource_name.to_string(),
        principal: asked.principal.to_string(),
        host: asked.host.to_string(),
        operation: AclOperation::from_code(asked.operation).ok_or_else(|| invalid("Invalid operation type"))?,
        permission: Permission::from_code(asked.permission_type).ok_or_else(|| invalid("Invalid permission type"))?,
    })
}

/// The filter of a DescribeAcls request.
pub(crate) fn of_describe(asked: &DescribeAclsRequest) -> Result<AclFilter, BrokerError> {
    of_delete(&DeleteAclsFilter {
        resource_type_filter: asked.resource_type_filter,
        resource_name_filter: asked.resource_name_filter.clone(),
        pattern_type_filter: asked.pattern_type_filter,
        principal_filter: asked.principal_filter.clone(),
        host_filter: asked.host_filter.clone(),
        operation: asked.operation,
        permission_type: asked.permission_type,
        ..Default::default()
    })
}

/// One filter of a DeleteAcls request.
pub(crate) fn of_delete(asked: &DeleteAclsFilter) -> Result<AclFilter, BrokerError> {
    let text = |text: &Option<Str>| text.as_ref().map(ToString::to_string);
    Ok(AclFilter {
        resource: any(asked.resource_type_filter, ResourceType::from_code, "Invalid resource type")?,
        pattern: PatternFilter::from_code(asked.pattern_type_filter)
            .ok_or_else(|| invalid("Invalid resource pattern type"))?,
        name: text(&asked.resource_name_filter),
        principal: text(&asked.principal_filter),
        host: text(&asked.host_filter),
        operation: any(asked.operation, AclOperation::from_code, "Invalid operation type")?,
        permission: any(asked.permission_type, Permission::from_code, "Invalid permission type")?,
    })
}

fn any<T>(code: i8, from: impl Fn(i8) -> Option<T>, otherwise: &'static str) -> Result<Option<T>, BrokerError> {
    if code == ANY { Ok(None) } else { from(code).map(Some).ok_or_else(|| invalid(otherwise)) }
}

fn invalid(message: &'static str) -> BrokerError {
    BrokerError::new(KafkaError::InvalidRequest, message)
}
