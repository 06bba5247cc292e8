//! The `Session` header (RFC 2326 §12.37).

use std::time::Duration;

use super::limits;
use super::parse::parse_digits;

/// A session identifier and how long the session lives without a sign of the
/// client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHeader {
    /// Compared with case and sent back byte for byte.
    pub id: String,
    pub timeout: Duration,
}

/// Reads the header of a response; `None` if the identifier is empty, too long
/// or holds anything but visible ASCII.
pub fn parse(value: &[u8]) -> Option<SessionHeader> {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let id = parts.next()?;
    if id.is_empty() || id.len() > limits::SESSION_ID || !id.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    Some(SessionHeader {
        id: String::from_utf8(id.to_vec()).ok()?,
        timeout: timeout_parameter(parts)
            .flatten()
            .unwrap_or(limits::SESSION_TIMEOUT),
    })
}

/// Whether the header names a timeout that says nothing.
pub fn has_unusable_timeout(value: &[u8]) -> bool {
    timeout_parameter(value.split(|byte| *byte == b';').skip(1)) == Some(None)
}

/// The first `timeout` parameter, and what it says.
fn timeout_parameter<'a>(
    mut parameters: impl Iterator<Item = &'a [u8]>,
) -> Option<Option<Duration>> {
    parameters.find_map(|parameter| {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = parameter.split_at_checked(equals)?;
        name.trim_ascii()
            .eq_ignore_ascii_case(b"timeout")
            .then(|| timeout(value.get(1..)))
    })
}

/// Seconds, at least 1, clamped; `None` if they say nothing.
fn timeout(value: Option<&[u8]>) -> Option<Duration> {
    let value = value?.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let digits = value.strip_suffix(b"\"").unwrap_or(value).trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match parse_digits(digits, usize::MAX) {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds).min(limits::SESSION_TIMEOUT_MAX)),
        None => Some(limits::SESSION_TIMEOUT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(value: &str) -> Option<(String, u64)> {
        parse(value.as_bytes()).map(|header| (header.id, header.timeout.as_secs()))
    }

    #[test]
    fn identifier_is_everything_before_the_semicolon() {
        // covers: C-SESS-01 C-SESS-02
        for (value, id, seconds) in [
            ("12345678", "12345678", 60),
            ("12345678;timeout=30", "12345678", 30),
            ("12345678 ; Timeout = 30", "12345678", 30),
            ("\"ab$-_.+\";timeout=\"30\"", "\"ab$-_.+\"", 30),
            ("abc;timeout=60s", "abc", 60),
            ("  aB,=/%\\~ \t; x=y;;TIMEOUT=7;timeout=9", "aB,=/%\\~", 7),
        ] {
            assert_eq!(header(value), Some((id.to_string(), seconds)), "{value}");
        }
    }

    #[test]
    fn illegal_identifiers_are_refused() {
        // covers: C-SESS-01 H-27
        for value in ["", " ", ";timeout=30", "a b", "a\r\nb", "a\0", "caf\u{e9}"] {
            assert_eq!(header(value), None, "{value:?}");
        }
        assert!(header(&"x".repeat(limits::SESSION_ID)).is_some());
        assert_eq!(header(&"x".repeat(limits::SESSION_ID + 1)), None);
        assert_eq!(header(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn unusable_timeout_means_60_seconds_and_a_huge_one_is_clamped() {
        // covers: C-SESS-02 H-28
        let day = 24 * 3600;
        for (timeout, seconds) in [
            ("0", 60),
            ("000", 60),
            ("", 60),
            ("\"\"", 60),
            ("abc", 60),
            ("NaN", 60),
            ("-1", 60),
            ("+5", 60),
            ("60s", 60),
            ("1", 1),
            ("0009", 9),
            ("86400", day),
            ("86401", day),
            ("99999999999999999999", day),
            ("0000000000000000000000000030", 30),
        ] {
            let value = format!("x;timeout={timeout}");
            assert_eq!(
                header(&value),
                Some(("x".to_string(), seconds)),
                "{timeout}"
            );
            assert_eq!(
                has_unusable_timeout(value.as_bytes()),
                seconds == 60,
                "{timeout}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_panic_on_arbitrary_bytes(bytes: Vec<u8>) {
            if let Some(header) = parse(&bytes) {
                prop_assert!((1..=86400).contains(&header.timeout.as_secs()));
                prop_assert!(bytes.len() >= header.id.len());
            }
        }
    }
}
