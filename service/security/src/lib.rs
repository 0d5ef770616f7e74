//! Who may come in, what they may do and how much: token rules, operations, resources, the authorizer's port, quotas.
//!
//! Pure but for cryptography: time is an argument, keys and tokens are values; nothing here opens a file or a socket.

mod authorize;
mod keys;
pub mod limits;
mod quota;
mod token;

pub use authorize::{AllowAuthenticated, Authorizer, Decision, Operation, Resource, ResourceType};
pub use keys::{KeyError, KeySet};
pub use quota::Quotas;
pub use token::{Authenticator, Identity, IssueError, TokenError, TokenRequest, TokenRules, issue_token};
