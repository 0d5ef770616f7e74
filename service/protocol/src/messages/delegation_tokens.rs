//! CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken and DescribeDelegationToken (keys 38 to 41; KIP-48, 373).

use bytes::Bytes;

use crate::Str;
use crate::describe::{api, message, structure};

api!(38, CreateDelegationTokenRequest => CreateDelegationTokenResponse);
api!(39, RenewDelegationTokenRequest => RenewDelegationTokenResponse);
api!(40, ExpireDelegationTokenRequest => ExpireDelegationTokenResponse);
api!(41, DescribeDelegationTokenRequest => DescribeDelegationTokenResponse);

message! {
    /// A new token.
    CreateDelegationTokenRequest, versions(1, 3), flexible(2) {
        /// The kind of the owner; null or empty: the caller is the owner.
        owner_principal_type: Option<Str> = Some(Str::EMPTY), since(3).null(3);
        /// The owner's name; null or empty: the caller is the owner.
        owner_principal_name: Option<Str> = Some(Str::EMPTY), since(3).null(3);
        /// Who may renew it beside its owner.
        renewers: Vec<CreatableRenewers>, since(0);
        /// How long it may live, milliseconds; the broker's limit if it is not positive.
        max_lifetime_ms: i64, since(0);
    }
}

structure! {
    /// Who may renew a token.
    CreatableRenewers {
        /// `User`.
        principal_type: Str, since(0);
        /// The name.
        principal_name: Str, since(0);
    }
}

message! {
    /// The token, and the only answer that need show its secret.
    CreateDelegationTokenResponse, versions(1, 3), flexible(2) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The kind of the owner.
        principal_type: Str, since(0);
        /// The owner's name.
        principal_name: Str, since(0);
        /// The kind of who asked for it.
        token_requester_principal_type: Str, since(3);
        /// The name of who asked for it.
        token_requester_principal_name: Str, since(3);
        /// When it was made.
        issue_timestamp_ms: i64, since(0);
        /// When it ends unless it is renewed.
        expiry_timestamp_ms: i64, since(0);
        /// When it ends in any case.
        max_timestamp_ms: i64, since(0);
        /// Its id: the user's name of a login with it.
        token_id: Str, since(0);
        /// Its secret; in base64 the password of a login with it.
        hmac: Bytes, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
    }
}

message! {
    /// A token that shall live on.
    RenewDelegationTokenRequest, versions(1, 2), flexible(2) {
        /// Its secret.
        hmac: Bytes, since(0);
        /// For how long from now, milliseconds; the broker's usual time if it is not positive.
        renew_period_ms: i64, since(0);
    }
}

message! {
    /// When it ends now.
    RenewDelegationTokenResponse, versions(1, 2), flexible(2) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// When it ends unless it is renewed.
        expiry_timestamp_ms: i64, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
    }
}

message! {
    /// A token that shall end.
    ExpireDelegationTokenRequest, versions(1, 2), flexible(2) {
        /// Its secret.
        hmac: Bytes, since(0);
        /// In how long from now, milliseconds; at once if it is negative.
        expiry_time_period_ms: i64, since(0);
    }
}

message! {
    /// When it ends now.
    ExpireDelegationTokenResponse, versions(1, 2), flexible(2) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// When it ends.
        expiry_timestamp_ms: i64, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
    }
}

message! {
    /// Whose tokens.
    DescribeDelegationTokenRequest, versions(1, 3), flexible(2) {
        /// Owners or renewers; null is everybody, and none is nobody.
        owners: Option<Vec<DescribeDelegationTokenOwner>> = Some(Vec::new()), since(0).null(0);
    }
}

structure! {
    /// Whose tokens.
    DescribeDelegationTokenOwner {
        /// `User`.
        principal_type: Str, since(0);
        /// The name.
        principal_name: Str, since(0);
    }
}

message! {
    /// The tokens.
    DescribeDelegationTokenResponse, versions(1, 3), flexible(2) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The tokens.
        tokens: Vec<DescribedDelegationToken>, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
    }
}

structure! {
    /// One token.
    DescribedDelegationToken {
        /// The kind of the owner.
        principal_type: Str, since(0);
        /// The owner's name.
        principal_name: Str, since(0);
        /// The kind of who asked for it.
        token_requester_principal_type: Str, since(3);
        /// The name of who asked for it.
        token_requester_principal_name: Str, since(3);
        /// When it was made.
        issue_timestamp: i64, since(0);
        /// When it ends unless it is renewed.
        expiry_timestamp: i64, since(0);
        /// When it ends in any case.
        max_timestamp: i64, since(0);
        /// Its id.
        token_id: Str, since(0);
        /// Its secret.
        hmac: Bytes, since(0);
        /// Who may renew it beside its owner.
        renewers: Vec<DescribedDelegationTokenRenewer>, since(0);
    }
}

structure! {
    /// Who may renew a token.
    DescribedDelegationTokenRenewer {
        /// `User`.
        principal_type: Str, since(0);
        /// The name.
        principal_name: Str, since(0);
    }
}
