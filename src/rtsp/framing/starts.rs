//! What a message can begin with, as far as the bytes that are there tell.

use crate::rtsp::{limits, parse};

/// Methods that mark a recovery point, each with the blank that ends it.
pub(super) const METHODS: [&[u8]; 12] = [
    b"OPTIONS ",
    b"DESCRIBE ",
    b"ANNOUNCE ",
    b"SETUP ",
    b"PLAY ",
    b"PAUSE ",
    b"RECORD ",
    b"TEARDOWN ",
    b"GET_PARAMETER ",
    b"SET_PARAMETER ",
    b"REDIRECT ",
    b"PLAY_NOTIFY ",
];

/// Whether bytes are what is looked for.
pub(super) enum Found {
    Yes,
    No,
    /// Decidable after so many more bytes, or even more.
    Undecided(usize),
}

/// `RTSP/1*DIGIT.1*DIGIT SP 3DIGIT`, the beginning of a status line.
pub(super) fn status_prefix(buf: &[u8]) -> Found {
    let Some(mut rest) = parse::strip_prefix_ignore_case(buf, b"RTSP/") else {
        let part = b"RTSP/".get(..buf.len()).unwrap_or_default();
        return if !buf.is_empty() && buf.eq_ignore_ascii_case(part) {
            Found::Undecided(1)
        } else {
            Found::No
        };
    };
    let digit: fn(&&u8) -> bool = |b| b.is_ascii_digit();
    let dot: fn(&&u8) -> bool = |b| **b == b'.';
    let blank: fn(&&u8) -> bool = |b| matches!(**b, b' ' | b'\t');
    for (class, min, max) in [
        (digit, 1, 32),
        (dot, 1, 1),
        (digit, 1, 32),
        (blank, 1, 32),
        (digit, 3, 3),
    ] {
        let run = rest.iter().take(max).take_while(class).count();
        if run == rest.len() && run < max {
            return Found::Undecided(1);
        }
        if run < min {
            return Found::No;
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    Found::Yes
}

/// Where, from `from` on, the next status line begins, as far as can be told.
pub(super) fn next_status(buf: &[u8], from: usize) -> usize {
    let starts = (from..buf.len()).find(|at| {
        let rest = buf.get(*at..).unwrap_or_default();
        matches!(rest, [b'R' | b'r', ..]) && !matches!(status_prefix(rest), Found::No)
    });
    starts.unwrap_or(buf.len())
}

/// A token and a blank, the beginning of a request line of any method.
pub(super) fn request_prefix(buf: &[u8]) -> Found {
    let token = buf
        .iter()
        .take(limits::METHOD)
        .take_while(|b| parse::is_token(**b))
        .count();
    match buf.get(token) {
        None => Found::Undecided(1),
        Some(b' ' | b'\t') if token > 0 => Found::Yes,
        Some(_) => Found::No,
    }
}

pub(super) fn known_method(buf: &[u8]) -> Found {
    if METHODS.iter().any(|method| buf.starts_with(method)) {
        Found::Yes
    } else if METHODS.iter().any(|method| method.starts_with(buf)) {
        Found::Undecided(1)
    } else {
        Found::No
    }
}
