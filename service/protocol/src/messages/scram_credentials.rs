//! DescribeUserScramCredentials (key 50) and AlterUserScramCredentials (key 51): users with passwords (KIP-554).

use bytes::Bytes;

use crate::Str;
use crate::describe::{api, message, structure};

api!(50, DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse);
api!(51, AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse);

message! {
    /// Whom to describe.
    DescribeUserScramCredentialsRequest, versions(0, 0), flexible(0) {
        /// The users; null or none is all.
        users: Option<Vec<UserName>> = Some(Vec::new()), since(0).null(0);
    }
}

structure! {
    /// A user.
    UserName {
        /// The name.
        name: Str, since(0);
    }
}

message! {
    /// The users.
    DescribeUserScramCredentialsResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error of the whole request, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The users.
        results: Vec<DescribeUserScramCredentialsResult>, since(0);
    }
}

structure! {
    /// One user.
    DescribeUserScramCredentialsResult {
        /// The name.
        user: Str, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The credentials.
        credential_infos: Vec<CredentialInfo>, since(0);
    }
}

structure! {
    /// What may be told of a credential.
    CredentialInfo {
        /// 1: SCRAM-SHA-256, 2: SCRAM-SHA-512.
        mechanism: i8, since(0);
        /// Rounds of PBKDF2.
        iterations: i32, since(0);
    }
}

message! {
    /// What to change.
    AlterUserScramCredentialsRequest, versions(0, 0), flexible(0) {
        /// Credentials to remove.
        deletions: Vec<ScramCredentialDeletion>, since(0);
        /// Credentials to set.
        upsertions: Vec<ScramCredentialUpsertion>, since(0);
    }
}

structure! {
    /// One credential to remove.
    ScramCredentialDeletion {
        /// The user.
        name: Str, since(0);
        /// 1: SCRAM-SHA-256, 2: SCRAM-SHA-512.
        mechanism: i8, since(0);
    }
}

structure! {
    /// One credential to set.
    ScramCredentialUpsertion {
        /// The user.
        name: Str, since(0);
        /// 1: SCRAM-SHA-256, 2: SCRAM-SHA-512.
        mechanism: i8, since(0);
        /// Rounds of PBKDF2.
        iterations: i32, since(0);
        /// The salt.
        salt: Bytes, since(0);
        /// The password after salt and rounds (RFC 5802: SaltedPassword).
        salted_password: Bytes, since(0);
    }
}

message! {
    /// What became of each user.
    AlterUserScramCredentialsResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results.
        results: Vec<AlterUserScramCredentialsResult>, since(0);
    }
}

structure! {
    /// What became of one user.
    AlterUserScramCredentialsResult {
        /// The user.
        user: Str, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
