//! `acls/<id>`: one access rule. Written by CreateAcls, removed by DeleteAcls; never changed.
//!
//! Two keys may hold the same rule, if two brokers were asked for it at once: it then holds once, and goes with both.
//!
//! Bytes: `{"version":1,"resource":"TOPIC","pattern":"LITERAL","name":"orders","principal":"User:alice","host":"*","operation":"READ","permission":"ALLOW"}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{AclBinding, AclOperation, PatternType, Permission, ResourceType};
use uuid::Uuid;

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// A stored rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclValue(pub AclBinding);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    resource: String,
    pattern: String,
    name: String,
    principal: String,
    host: String,
    operation: String,
    permission: String,
}

impl AclValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let AclBinding { resource, pattern, name, principal, host, operation, permission } = &self.0;
        to_json(&Stored {
            version: VERSION,
            resource: resource.name().to_string(),
            pattern: pattern.name().to_string(),
            name: name.clone(),
            principal: principal.clone(),
            host: host.clone(),
            operation: operation.name().to_string(),
            permission: permission.name().to_string(),
        })
    }

    /// Reads the stored bytes.
    pub fn decode(id: Uuid, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Acl(id);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        // A rule that is not understood must not be passed over: it may be the one that denies.
        let unknown = |what: &str, text: &str| invalid(&key, format!("{what} {text:?} is unknown"));
        Ok(AclValue(AclBinding {
            resource: ResourceType::from_name(&stored.resource).ok_or_else(|| unknown("resource", &stored.resource))?,
            pattern: PatternType::from_name(&stored.pattern).ok_or_else(|| unknown("pattern", &stored.pattern))?,
            operation: AclOperation::from_name(&stored.operation)
                .ok_or_else(|| unknown("operation", &stored.operation))?,
            permission: Permission::from_name(&stored.permission)
                .ok_or_else(|| unknown("permission", &stored.permission))?,
            name: stored.name,
            principal: stored.principal,
            host: stored.host,
        }))
    }
}
