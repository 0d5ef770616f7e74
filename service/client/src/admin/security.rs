//! Users with passwords (KIP-554) and access rules (KIP-140, 290).

use bytes::Bytes;
use tidelog_model::{AclBinding, AclOperation, KafkaError, PatternType, Permission, ResourceType, ScramMechanism};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AclCreation, AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsFilter, DeleteAclsRequest,
    DescribeAclsRequest, DescribeUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use tidelog_security::limits::SALT_BYTES;
use tidelog_security::scram::salted_password;
use uuid::Uuid;

use crate::{Client, ClientError};

/// A user's credential, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCredential {
    /// The user.
    pub user: String,
    /// Which.
    pub mechanism: ScramMechanism,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

/// Which access rules are meant; `None` is any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AclQuery {
    /// The kind of resource.
    pub resource: Option<ResourceType>,
    /// How the rule's name is compared.
    pub pattern: AclPattern,
    /// The rule's name.
    pub name: Option<String>,
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// What.
    pub operation: Option<AclOperation>,
    /// Given or taken.
    pub permission: Option<Permission>,
}

/// Which rules on a name are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AclPattern {
    /// Rules with this name, however it is meant.
    #[default]
    Any,
    /// Rules that hold for the resource of this name: its own, those of its prefixes, and of every resource.
    Match,
    /// Rules with this name that is meant so.
    Only(PatternType),
}

impl AclPattern {
    fn code(self) -> i8 {
        match self {
            AclPattern::Any => ANY,
            AclPattern::Match => MATCH,
            AclPattern::Only(pattern) => pattern.code(),
        }
    }
}

/// "Any" in Kafka's numbers.
const ANY: i8 = 1;

/// "Match" in Kafka's numbers of patterns.
const MATCH: i8 = 2;

impl AclQuery {
    fn filter(&self) -> DeleteAclsFilter {
        let text = |text: &Option<String>| text.as_ref().map(Str::from);
        DeleteAclsFilter {
            resource_type_filter: self.resource.map_or(ANY, ResourceType::code),
            resource_name_filter: text(&self.name),
            pattern_type_filter: self.pattern.code(),
            principal_filter: text(&self.principal),
            host_filter: text(&self.host),
            operation: self.operation.map_or(ANY, AclOperation::code),
            permission_type: self.permission.map_or(ANY, Permission::code),
            ..Default::default()
        }
    }
}

/// A salt of our own.
pub fn new_salt() -> Vec<u8> {
    let mut salt = Vec::with_capacity(SALT_BYTES);
    while salt.len() < SALT_BYTES {
        salt.extend_from_slice(Uuid::new_v4().as_bytes());
    }
    salt.truncate(SALT_BYTES);
    salt
}

impl Client {
    /// Sets a user's password, for these SCRAM mechanisms, with so many rounds of PBKDF2. The password itself does not leave this process.
    pub async fn set_password(
        &self,
        user: &str,
        password: &str,
        mechanisms: &[ScramMechanism],
        iterations: i32,
    ) -> Result<(), ClientError> {
        let upsertion = |mechanism: &ScramMechanism| {
            let salt = new_salt();
            let salted = salted_password(*mechanism, password.as_bytes(), &salt, iterations);
            ScramCredentialUpsertion {
                name: Str::from(user),
                mechanism: mechanism.code(),
                iterations,
                salt: Bytes::from(salt),
                salted_password: Bytes::from(salted),
                ..Default::default()
            }
        };
        let upsertions = mechanisms.iter().map(upsertion).collect();
        self.alter_users(AlterUserScramCredentialsRequest { upsertions, ..Default::default() }).await
    }

    /// Removes a user's credentials.
    pub async fn delete_user(&self, user: &str) -> Result<(), ClientError> {
        let has = self.users(Some(user)).await.map_err(|error| match error {
            // The server tells of the description that nobody has asked for.
            ClientError::Kafka { error: error @ KafkaError::ResourceNotFound, what, .. } => {
                ClientError::Kafka { error, what, message: "there is no such user".into() }
            }
            other => other,
        })?;
        let deletion = |has: UserCredential| ScramCredentialDeletion {
            name: Str::from(user),
            mechanism: has.mechanism.code(),
            ..Default::default()
        };
        let deletions = has.into_iter().map(deletion).collect();
        self.alter_users(AlterUserScramCredentialsRequest { deletions, ..Default::default() }).await
    }

    async fn alter_users(&self, request: AlterUserScramCredentialsRequest) -> Result<(), ClientError> {
        for result in self.call(&request).await?.results {
            let what = || format!("user {}", result.user);
            ClientError::check(result.error_code, what, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// The credentials of one user, or of all.
    pub async fn users(&self, user: Option<&str>) -> Result<Vec<UserCredential>, ClientError> {
        let name = |user| tidelog_protocol::messages::UserName { name: Str::from(user), ..Default::default() };
        let request =
            DescribeUserScramCredentialsRequest { users: user.map(|user| vec![name(user)]), ..Default::default() };
        let response = self.call(&request).await?;
        ClientError::check(response.error_code, || "users".into(), response.error_message.as_deref())?;
        let mut users = Vec::new();
        for result in response.results {
            let what = || format!("user {}", result.user);
            ClientError::check(result.error_code, what, result.error_message.as_deref())?;
            for info in result.credential_infos {
                let Some(mechanism) = ScramMechanism::from_code(info.mechanism) else { continue };
                users.push(UserCredential { user: result.user.to_string(), mechanism, iterations: info.iterations });
            }
        }
        Ok(users)
    }

    /// Adds access rules.
    pub async fn create_acls(&self, rules: &[AclBinding]) -> Result<(), ClientError> {
        let creation = |rule: &AclBinding| AclCreation {
            resource_type: rule.resource.code(),
            resource_name: Str::from(&rule.name),
            resource_pattern_type: rule.pattern.code(),
            principal: Str::from(&rule.principal),
            host: Str::from(&rule.host),
            operation: rule.operation.code(),
            permission_type: rule.permission.code(),
            ..Default::default()
        };
        let creations = rules.iter().map(creation).collect();
        for result in self.call(&CreateAclsRequest { creations, ..Default::default() }).await?.results {
            ClientError::check(result.error_code, || "access rule".into(), result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// The access rules that are meant.
    pub async fn acls(&self, query: &AclQuery) -> Result<Vec<AclBinding>, ClientError> {
        let filter = query.filter();
        let request = DescribeAclsRequest {
            resource_type_filter: filter.resource_type_filter,
            resource_name_filter: filter.resource_name_filter,
            pattern_type_filter: filter.pattern_type_filter,
            principal_filter: filter.principal_filter,
            host_filter: filter.host_filter,
            operation: filter.operation,
            permission_type: filter.permission_type,
            ..Default::default()
        };
        let response = self.call(&request).await?;
        ClientError::check(response.error_code, || "access rules".into(), response.error_message.as_deref())?;
        let mut rules = Vec::new();
        for resource in response.resources {
            for acl in resource.acls {
                let pattern = (resource.resource_type, resource.pattern_type, resource.resource_name.as_str());
                rules.push(rule(pattern, (&acl.principal, &acl.host, acl.operation, acl.permission_type))?);
            }
        }
        Ok(rules)
    }

    /// Removes the access rules that are meant; says which those were.
    pub async fn delete_acls(&self, query: &AclQuery) -> Result<Vec<AclBinding>, ClientError> {
        let request = DeleteAclsRequest { filters: vec![query.filter()], ..Default::default() };
        let mut rules = Vec::new();
        for result in self.call(&request).await?.filter_results {
            ClientError::check(result.error_code, || "access rules".into(), result.error_message.as_deref())?;
            for acl in result.matching_acls {
                ClientError::check(acl.error_code, || "access rule".into(), acl.error_message.as_deref())?;
                let pattern = (acl.resource_type, acl.pattern_type, acl.resource_name.as_str());
                rules.push(rule(pattern, (&acl.principal, &acl.host, acl.operation, acl.permission_type))?);
            }
        }
        Ok(rules)
    }
}

/// A rule as the wire has it.
fn rule(
    (kind, pattern, name): (i8, i8, &str),
    (principal, host, operation, permission): (&str, &str, i8, i8),
) -> Result<AclBinding, ClientError> {
    let read = || {
        Some(AclBinding {
            resource: ResourceType::from_code(kind)?,
            pattern: PatternType::from_code(pattern)?,
            name: name.to_owned(),
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation: AclOperation::from_code(operation)?,
            permission: Permission::from_code(permission)?,
        })
    };
    let newer = || ClientError::kafka(KafkaError::UnknownServerError, "access rule", Some("of a newer server"));
    read().ok_or_else(newer)
}
