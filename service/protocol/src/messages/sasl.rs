//! SaslHandshake (key 17) and SaslAuthenticate (key 36): the choice of a SASL mechanism and its exchange (KIP-43,
//! KIP-152). After handshake version 0 the exchange has no Kafka frames at all.

use bytes::Bytes;

use crate::Str;
use crate::describe::{NEVER, api, message};

api!(17, SaslHandshakeRequest => SaslHandshakeResponse);
api!(36, SaslAuthenticateRequest => SaslAuthenticateResponse);

message! {
    /// The mechanism that the client chooses.
    SaslHandshakeRequest, versions(0, 1), flexible(NEVER) {
        /// Its name.
        mechanism: Str, since(0);
    }
}

message! {
    /// The mechanisms that there are.
    SaslHandshakeResponse, versions(0, 1), flexible(NEVER) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// Their names.
        mechanisms: Vec<Str>, since(0);
    }
}

message! {
    /// The client's next message.
    SaslAuthenticateRequest, versions(0, 2), flexible(2) {
        /// The message, as the mechanism has it.
        auth_bytes: Bytes, since(0);
    }
}

message! {
    /// The server's next message.
    SaslAuthenticateResponse, versions(0, 2), flexible(2) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The message, as the mechanism has it.
        auth_bytes: Bytes, since(0);
        /// The client must authenticate again within this time, milliseconds; 0 is never (KIP-368).
        session_lifetime_ms: i64, since(1).ignorable();
    }
}
