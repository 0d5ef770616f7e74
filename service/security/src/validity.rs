//! From when to when a certificate is valid. Reads its DER, judges nothing: whoever verifies chains does.

use std::str;

use tidelog_model::Timestamp;

use crate::der::{Field, element, from_field};

/// The first and the last moment; nothing if the certificate makes no sense.
pub fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, times, _) = element(from_field(certificate, Field::Validity)?)?;
    let (tag, first, rest) = element(times)?;
    let (last_tag, last, _) = element(rest)?;
    Some((time(tag, first)?, time(last_tag, last)?))
}

/// `YYMMDDHHMMSSZ` (UTCTime, 1950 to 2049) or `YYYYMMDDHHMMSSZ` (GeneralizedTime), in UTC and without fractions (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let two = |at: usize, range: std::ops::RangeInclusive<i64>| {
        number(rest.get(at..at + 2)?).filter(|number| range.contains(number))
    };
    let (month, day) = (two(0, 1..=12)?, two(2, 1..=31)?);
    let (hour, minute, second) = (two(4, 0..=23)?, two(6, 0..=59)?, two(8, 0..=60)?);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(seconds * 1000))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days since 1970 of a date of the Gregorian calendar: years begin in March, so that leap days end them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_read_and_nonsense_is_not() {
        for (tag, text, millis) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999_000)),
            (0x17, "500101000000Z", Some(-631_152_000_000)),
            (0x18, "20000229120000Z", Some(951_825_600_000)),
            (0x18, "20240229000000Z", Some(1_709_164_800_000)),
            (0x18, "99991231235959Z", Some(253_402_300_799_000)),
            (0x18, "20241301000000Z", None),
            (0x18, "20240229000000", None),
            (0x18, "20240229000000+0100Z", None),
            (0x17, "+70101000000Z", None),
            (0x17, "Z", None),
            (0x02, "700101000000Z", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()), millis.map(Timestamp), "{tag} {text}");
        }
    }

    #[test]
    fn the_validity_of_no_certificate_is_none() {
        for nonsense in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], b"hello there"] {
            assert_eq!(validity(nonsense), None);
        }
    }
}
