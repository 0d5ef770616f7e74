//! Texts of the command line: `key=value`, sizes, durations, RFC 3339 times, positions. Pure.

use std::time::Duration;

use tidelog_model::{Offset, Timestamp};

/// `KEY=VALUE`; the value may be empty and may contain `=`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

/// A duration: `500ms`, `5s`, `2m`, `1h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let error = || "expected a duration such as 500ms, 5s, 2m, 1h or 7d".to_owned();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(error)?;
    let (number, unit) = text.split_at_checked(split).ok_or_else(error)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(error()),
    };
    let number: f64 = number.parse().map_err(|_| error())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| error())
}

/// A size in bytes: `100`, `16k`, `1MiB` (powers of 1024).
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let error = || "expected a size such as 100, 16k or 1MiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).ok_or_else(error)?;
    let unit: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1024,
        "m" | "mb" | "mib" => 1024 * 1024,
        "g" | "gb" | "gib" => 1024 * 1024 * 1024,
        _ => return Err(error()),
    };
    number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(error)
}

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The first offset that exists.
    Beginning,
    /// The end.
    End,
    /// This offset.
    At(Offset),
    /// This many records before the end.
    BeforeEnd(i64),
    /// The first record with this time or a later one.
    Time(Timestamp),
}

/// `beginning`, `end`, an offset, `-N` for N records before the end, or an RFC 3339 time.
pub(crate) fn position(text: &str) -> Result<Position, String> {
    match text {
        "beginning" | "earliest" => return Ok(Position::Beginning),
        "end" | "latest" => return Ok(Position::End),
        _ => {}
    }
    match text.parse::<i64>() {
        Ok(offset) if offset >= 0 && !text.starts_with('+') => return Ok(Position::At(Offset(offset))),
        Ok(back) if back < 0 => return Ok(Position::BeforeEnd(back.saturating_neg())),
        _ => {}
    }
    let time = rfc3339(text).map(Position::Time);
    time.ok_or_else(|| "expected beginning, end, an offset, -N, or a time such as 2026-11-21T10:00:00Z".into())
}

/// Milliseconds since 1970 of `2026-11-21T10:46:53.5Z` or `…+01:00`.
pub(crate) fn rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (year, month, day) = triple(date, '-', [4, 2, 2])?;
    let (hour, minute, second) = triple(time, ':', [2, 2, 2])?;
    let (millis, zone) = fraction(rest)?;
    let zone = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('+') { 1 } else { -1 };
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    // A leap second counts as the first of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone;
    Some(Timestamp(seconds * 1000 + millis))
}

fn triple(text: &str, separator: char, widths: [usize; 3]) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(separator).zip(widths).map(|(part, width)| number(part, width));
    let values = (parts.next()??, parts.next()??, parts.next()??);
    (text.matches(separator).count() == 2).then_some(values)
}

fn number(text: &str, width: usize) -> Option<i64> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Milliseconds of `.5…`, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at_checked(digits).filter(|(fraction, _)| !fraction.is_empty())?;
    let three = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    Some((three.fold(0, |sum, digit| sum * 10 + i64::from(digit.saturating_sub(b'0'))), zone))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, `year` ≥ 0.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = 365 * year + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    // 719,527 days from the first day of year 0 (a leap year before it counts as day −1) to 1970-01-01.
    years + months + day - 719_528
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=b").is_err() && key_value("ab").is_err());
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "5", "s", "-1s", "1x", "1.2.3s", "9999999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!((size("100"), size("16k"), size("1MiB")), (Ok(100), Ok(16_384), Ok(1_048_576)));
        for bad in ["", "k", "-1", "1.5k", "1t", "99999999999999999999", "9999999999999g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn positions() {
        assert_eq!(position("beginning"), Ok(Position::Beginning));
        assert_eq!(position("end"), Ok(Position::End));
        assert_eq!(position("42"), Ok(Position::At(Offset(42))));
        assert_eq!(position("-5"), Ok(Position::BeforeEnd(5)));
        assert_eq!(position("1970-01-01T00:00:01Z"), Ok(Position::Time(Timestamp(1000))));
        for bad in ["", "x", "+5", "2026-11-21", "1e3", "99999999999999999999"] {
            assert!(position(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_rfc_3339() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("2024-02-29T00:00:00.123456789z", 1_709_164_800_123),
            ("2000-03-01 00:00:00+00:00", 951_868_800_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ];
        for (text, millis) in cases {
            assert_eq!(rfc3339(text), Some(Timestamp(millis)), "{text}");
        }
        for bad in [
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01T00:00:00é",
            "é24-01-01T0",
        ] {
            assert_eq!(rfc3339(bad), None, "{bad}");
        }
    }
}
