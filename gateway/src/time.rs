//! RFC 3339 times and durations as people write them, to Kafka's milliseconds and back. Pure but for [`wall_clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidelog_model::Timestamp;

/// The calendar's time now.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds since 1970 of an RFC 3339 time such as `2026-11-21T10:46:53.5Z` or `…+01:00`. A leap second counts as the first
/// of the next minute.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    // A `+` in a query string arrives as a space unless it was escaped; between date and time a space is allowed.
    let escaped = text.rsplit_once(' ').filter(|(time, _)| time.len() > "2026-11-21".len());
    let escaped = escaped.map(|(time, zone)| format!("{time}+{zone}"));
    let time = chrono::DateTime::parse_from_rfc3339(escaped.as_deref().unwrap_or(text)).ok()?;
    Some(Timestamp(time.timestamp_millis()))
}

/// A duration such as `500ms`, `5s`, `2m`, or a plain number of seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130),
            ("2024-02-29T00:00:00.123456789z", 1_709_164_800_123),
            ("2000-03-01 00:00:00Z", 951_868_800_000),
            ("2026-11-21T11:46:53 01:00", 1_795_258_013_000),
            ("2026-11-21 11:46:53 01:00", 1_795_258_013_000),
            ("1990-12-31T23:59:60Z", 662_688_000_000),
            ("1969-12-31T23:59:59.999Z", -1),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_rfc3339(text), Some(Timestamp(millis)), "{text}");
        }
        for bad in [
            "",
            "2024",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01T00:00:00Zx",
            "2024-01-01",
            "+024-01-01T00:00:00Z",
            "2024-01-01T00:00:00+é1:0",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("7"), Some(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1h30", "1e9999s", "x", "1.2.3s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_does_no_harm(text in "\\PC{0,40}") {
            let _ = (parse_rfc3339(&text), parse_duration(&text));
        }
    }
}
