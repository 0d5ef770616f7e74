//! How long certificates are valid. Decides what is to be told of one; reads none.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use tidelog_model::Timestamp;
use tidelog_security::validity;

use crate::output::time_for_people;

/// A certificate that ends within this time is told of at a start and by `config check`.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The time that certificates are judged by.
pub(super) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// What is to be told of how long a certificate is valid, if anything.
pub(super) fn told_of(at: &impl Display, then: &str, certificate: &[u8], now: Timestamp) -> Option<String> {
    let (first, last) = validity(certificate)?;
    let soon = Timestamp(now.get().saturating_add(i64::try_from(ENDS_SOON.as_millis()).unwrap_or(i64::MAX)));
    let day = |time: Timestamp| time_for_people(time.get());
    if now < first {
        Some(format!("a certificate in {at} is not valid before {}: {then}", day(first)))
    } else if now > last {
        Some(format!("a certificate in {at} has ended, on {}: {then}", day(last)))
    } else if soon > last {
        Some(format!("a certificate in {at} ends on {}; then {then}", day(last)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use tidelog_harness::rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[test]
    fn who_starts_hears_of_certificates_that_are_over_or_will_be() {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 3, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let begins = 1_767_225_600_000;
        let ends = begins + 59 * DAY;
        for (now, told) in [
            (begins - 1, Some("is not valid before 2026-01-01T00:00:00.000Z")),
            (begins, None),
            (ends - 14 * DAY, None),
            (ends - 14 * DAY + 1, Some("ends on 2026-03-01T00:00:00.000Z; then clients turn away")),
            (ends + 1, Some("has ended, on 2026-03-01T00:00:00.000Z: clients turn away")),
        ] {
            let heard = told_of(&"x.pem", "clients turn away", certificate.der(), Timestamp(now));
            match (heard, told) {
                (None, None) => {}
                (Some(heard), Some(told)) => assert!(heard.contains(told) && heard.contains("x.pem"), "{heard}"),
                other => panic!("{now}: {other:?}"),
            }
        }
    }
}
