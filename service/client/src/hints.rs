//! What a broken conversation looks like, in words that tell what to do: a port of another protocol, a listener that wants TLS or a
//! name, one that wants neither. Guesses from what was seen; decides nothing.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

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

/// The server has closed the connection without any answer.
pub(crate) fn of_silence(encrypted: bool, has_certificate: bool) -> &'static str {
    match (encrypted, has_certificate) {
        (false, _) => {
            " without an answer: is that a Kafka port, does it want TLS (--tls-ca FILE, TIDELOG_TLS_CA), and does it have room for \
             another connection (max.connections.per.ip)?"
        }
        (true, false) => {
            " without an answer: is that a Kafka port, and does it ask for certificates (--tls-client-cert FILE, \
             TIDELOG_TLS_CLIENT_CERT)?"
        }
        (true, true) => {
            " without an answer: it may have refused the certificate (--tls-client-cert, TIDELOG_TLS_CLIENT_CERT), whose reason is in \
             its log"
        }
    }
}

/// The server asks who its clients are, and offers these ways to say so.
pub(crate) fn of_mechanisms(mechanisms: &[String]) -> String {
    format!(
        "set TIDELOG_USER (or --user) and TIDELOG_PASSWORD; it offers {} (TIDELOG_SASL_MECHANISM, --sasl-mechanism)",
        mechanisms.join(", ")
    )
}

/// What to do if the error is the server's word about our certificate, or about having none (RFC 8446, 6.2).
pub(crate) fn of_alert(error: &io::Error, has_certificate: bool) -> Option<String> {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        UnknownCA, UnsupportedCertificate,
    };
    const FILES: &str =
        "--tls-client-cert FILE and --tls-client-key FILE (TIDELOG_TLS_CLIENT_CERT, TIDELOG_TLS_CLIENT_KEY)";
    let Some(Error::AlertReceived(alert)) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return None;
    };
    let why = match alert {
        // What Java says of a certificate that is not there, too.
        CertificateRequired | BadCertificate if !has_certificate => {
            return Some(format!("the server asks its clients for a certificate: {FILES}"));
        }
        CertificateRequired | BadCertificate | UnsupportedCertificate | CertificateUnknown => {
            "the server does not take it"
        }
        CertificateRevoked => "it is revoked",
        CertificateExpired => "it has expired",
        UnknownCA => "nobody whom the server trusts has signed it",
        AccessDenied => "the server lets nobody in with it",
        _ => return None,
    };
    Some(format!("the certificate is refused, {why}: {FILES}"))
}

/// A TLS handshake has failed.
pub(crate) fn of_handshake(error: &io::Error) -> &'static str {
    const NO_TLS: &str = ": is that listener encrypted? For one that is not, leave --tls-ca (TIDELOG_TLS_CA) out";
    const HUNG_UP: &str = ": is that listener encrypted (for one that is not, leave --tls-ca, TIDELOG_TLS_CA, out), and does it have \
                           room for another connection (max.connections.per.ip)?";
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(_)) => NO_TLS,
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ": --tls-ca (TIDELOG_TLS_CA) does not hold who signed the server's certificate"
        }
        Some(_) => "",
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => HUNG_UP,
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
    fn a_server_that_says_nothing_may_want_tls_unless_it_has_it() {
        let (open, encrypted, shown) = (of_silence(false, false), of_silence(true, false), of_silence(true, true));
        assert!(open.contains("--tls-ca") && open.contains("max.connections.per.ip"));
        assert!(!encrypted.contains("--tls-ca") && encrypted.contains("ask for certificates"));
        assert!(shown.contains("refused the certificate"));
    }

    #[test]
    fn alerts_about_a_certificate_say_what_to_do() {
        let told = |alert, has| of_alert(&io::Error::other(Error::AlertReceived(alert)), has);
        for missing in [AlertDescription::CertificateRequired, AlertDescription::BadCertificate] {
            let told = told(missing, false).unwrap();
            assert!(told.contains("asks its clients for a certificate: --tls-client-cert"), "{told}");
        }
        assert!(told(AlertDescription::CertificateExpired, true).unwrap().contains("it has expired"));
        assert!(told(AlertDescription::UnknownCA, true).unwrap().contains("has signed it"));
        assert_eq!(told(AlertDescription::InternalError, false), None);
        assert_eq!(of_alert(&io::Error::other("something else"), false), None);
    }
}
