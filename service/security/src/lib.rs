//! Who may come in, what they may do and how much: token rules, operations, resources, the authorizer's port, quotas, connections.
//!
//! Pure but for cryptography: time is an argument, keys and tokens are values; nothing here opens a file or a socket.

mod acl;
mod alternative_names;
mod audit;
mod authorize;
mod der;
pub mod distinguished_name;
mod fair;
mod keys;
pub mod limits;
mod proven;
mod quota;
pub mod sasl;
pub mod scram;
mod token;
mod validity;

pub use acl::{AclAuthorizer, AclDefaults, AclSet, Asker, Verdict};
pub use alternative_names::alternative_names;
pub use audit::{Audit, AuditEvent, Audited, TokenChange, is_worth_a_line};
pub use authorize::{AllowAuthenticated, Authorizer, Decision, Resource, Way};
pub use fair::{Entered, FairLimits, FairQueue, Sited};
pub use keys::{KeyError, KeySet};
pub use proven::{ProofTag, Proven};
pub use quota::{Connections, Quotas, Welcome};
pub use token::{Authenticator, Identity, IssueError, TokenError, TokenRequest, TokenRules, issue_token};
pub use validity::validity;
// What is asked for is vocabulary, but whoever asks the authorizer finds all of it here.
pub use tidelog_model::{Operation, ResourceType};
