//! What a broken conversation looks like, in words that tell what to do: a port of another protocol, a listener that wants TLS or a
//! name, one that wants neither. Guesses from what was seen; decides nothing.

use std::io;

use rustls::{CertificateError, Error};

/// The first four bytes where the size of an answer should stand.
pub(crate) fn of_size(announced: i32) -> Option<&'static str> {
    match announced.to_be_bytes() {
        // A TLS record with an alert in it.
        [0x15, 0x03, ..] => Some("the server speaks TLS there: pass --tls-ca FILE (TIDELOG_TLS_CA)"),
        [b'H', b'T', b'T', b'P'] => Some(
            "that is an HTTP port; --brokers (TIDELOG_BROKERS) takes the Kafka port, which is 9092 unless configured otherwise",
        ),
        _ => None,
    }
}

/// The server has closed the connection after so many answers, and another was due.
pub(crate) fn of_close(answers: u64, has_login: bool, encrypted: bool) -> &'static str {
    match answers {
        0 if !encrypted => {
            " without an answer: is that a Kafka port, and does it want TLS (--tls-ca FILE, TIDELOG_TLS_CA)?"
        }
        0 => " without an answer: is that a Kafka port?",
        // Every server tells its versions to everybody, once or in an older form again; then it wants to know whom.
        1 | 2 if !has_login => {
            ": does it ask who its clients are? Then set TIDELOG_USER (or --user) and TIDELOG_PASSWORD"
        }
        _ => "",
    }
}

/// A TLS handshake has failed.
pub(crate) fn of_handshake(error: &io::Error) -> &'static str {
    const NO_TLS: &str = ": is that listener encrypted? For one that is not, leave --tls-ca (TIDELOG_TLS_CA) out";
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(_)) => NO_TLS,
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ": --tls-ca (TIDELOG_TLS_CA) does not hold who signed the server's certificate"
        }
        Some(_) => "",
        None if error.kind() == io::ErrorKind::UnexpectedEof => NO_TLS,
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        assert!(of_size(352_518_912).is_some_and(|hint| hint.contains("--tls-ca")));
        assert!(of_size(1_213_486_160).is_some_and(|hint| hint.contains("HTTP port")));
        for size in [0, 100, -1, i32::MAX] {
            assert_eq!(of_size(size), None, "{size}");
        }
    }

    #[test]
    fn who_has_logged_in_or_was_answered_gets_no_advice_about_it() {
        assert!(of_close(1, false, false).contains("TIDELOG_USER"));
        assert_eq!((of_close(1, true, false), of_close(3, false, false)), ("", ""));
        assert!(of_close(0, false, false).contains("--tls-ca") && !of_close(0, false, true).contains("--tls-ca"));
    }
}
