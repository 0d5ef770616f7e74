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

/// One of these names, however its letters are written.
pub(crate) fn one_of(
    known: impl IntoIterator<Item = &'static str>,
) -> impl Fn(&str) -> Result<&'static str, String> + Clone {
    let known: Vec<&'static str> = known.into_iter().collect();
    move |text| {
        let found = known.iter().find(|name| name.eq_ignore_ascii_case(text.trim()));
        found.copied().ok_or_else(|| format!("{text:?} is none of {}", known.join(", ")))
    }
}

/// A user's name, also where it is written as a principal, `User:alice`.
pub(crate) fn user_name(text: &str) -> Result<String, String> {
    match text.strip_prefix("User:").unwrap_or(text) {
        "" => Err("expected the name of a user".into()),
        name => Ok(name.to_owned()),
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

/// A size in bytes: `100`, `16k`, `1MiB` (powers of 1024), `1MB` (of 1000).
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let error = || "expected a size such as 100, 16k, 1MiB (powers of 1024) or 1MB (of 1000)".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).ok_or_else(error)?;
    let unit: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1024,
        "m" | "mib" => 1024 * 1024,
        "g" | "gib" => 1024 * 1024 * 1024,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
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

/// `beginning`, `end`, an offset, `-N` for N records before the end, an RFC 3339 time, or a day.
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
    let time = moment(text).map(Position::Time);
    time.ok_or_else(|| {
        "expected beginning, end, an offset, -N, a time such as 2026-11-21T10:00:00Z, or a day such as 2026-11-21"
            .into()
    })
}

/// Milliseconds since 1970 of `2026-11-21T10:46:53.5Z` or `…+01:00`.
pub(crate) fn rfc3339(text: &str) -> Option<Timestamp> {
    Some(Timestamp(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()))
}

/// A time, or a day alone: its beginning in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    rfc3339(text).or_else(|| rfc3339(&format!("{text}T00:00:00Z")))
}

/// A time as an option takes it.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    moment(text).ok_or_else(|| "expected a time such as 2026-11-21T10:00:00Z, or a day such as 2026-11-21".into())
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
    fn names_that_are_known() {
        let state = one_of(["Stable", "Empty"]);
        assert_eq!((state("stable"), state(" EMPTY")), (Ok("Stable"), Ok("Empty")));
        assert_eq!(state("Stabel").unwrap_err(), "\"Stabel\" is none of Stable, Empty");
    }

    #[test]
    fn users_may_be_written_as_principals() {
        assert_eq!((user_name("alice"), user_name("User:alice")), (Ok("alice".into()), Ok("alice".into())));
        assert!(user_name("").is_err() && user_name("User:").is_err());
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
        assert_eq!((size("2kB"), size("10MB"), size("1gb")), (Ok(2_000), Ok(10_000_000), Ok(1_000_000_000)));
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
        assert_eq!(position("1970-01-02"), Ok(Position::Time(Timestamp(86_400_000))));
        for bad in ["", "x", "+5", "2026-11-31", "2026-11", "1e3", "99999999999999999999"] {
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
