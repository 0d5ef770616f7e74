//! CPU time of this process.

/// User and system time so far, seconds; `None` where the system does not tell (only Linux does).
pub(super) fn cpu_seconds() -> Option<f64> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Fields 14 and 15 of `/proc/self/stat`, in hundredths of a second on every Linux; the name in field 2 may contain anything.
fn parse(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0";
        assert_eq!(super::parse(stat), Some(1.75));
        assert_eq!(super::parse("nonsense"), None);
    }
}
