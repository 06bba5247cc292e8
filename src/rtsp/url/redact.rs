//! Text for logs and messages, without the secrets of the URLs in it.

use super::split_server;

/// Parameters whose value is a password; some cameras have it in the path.
const SECRETS: [&str; 4] = ["password=", "passwd=", "pwd=", "pass="];

const HIDDEN: &str = "***";

/// The text with the user information of every URL in it replaced, and the
/// value of parameters that are named like a password, in relative URLs as well.
/// Hides rather too much than half a password.
pub fn redact(text: &str) -> String {
    let is_delimiter = |c: char| c.is_whitespace() || "\"'<>".contains(c);
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(is_delimiter) {
        let bare = word.strip_suffix(is_delimiter).unwrap_or(word);
        redact_urls(bare, &mut out);
        out.push_str(word.get(bare.len()..).unwrap_or_default());
    }
    out
}

fn redact_urls(mut word: &str, out: &mut String) {
    while let Some((before, url)) = word.split_once("://") {
        redact_parameters(before, out);
        out.push_str("://");
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        word = url;
        if split_server(authority).is_none() {
            // There is user information, or nobody knows what it is.
            out.push_str(HIDDEN);
            word = url.rsplit_once('@').map_or("", |(_, rest)| rest);
            out.push_str(if url.contains('@') { "@" } else { "" });
        }
    }
    redact_parameters(word, out);
}

fn redact_parameters(text: &str, out: &mut String) {
    for piece in text.split_inclusive(['?', '&', ';', '/']) {
        let lower = piece.to_ascii_lowercase();
        let value = SECRETS
            .iter()
            .filter_map(|secret| lower.find(secret)?.checked_add(secret.len()))
            .min()
            .and_then(|at| piece.split_at_checked(at));
        match value {
            Some((name, value)) => {
                out.extend([name, HIDDEN]);
                out.extend(value.chars().last().filter(|c| "?&;/".contains(*c)));
            }
            None => out.push_str(piece),
        }
    }
}
