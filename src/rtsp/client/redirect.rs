//! Which redirects are followed (RFC 2326 §11.2, RFC 7826 §17.3, §19.2).

use std::time::Instant;

use super::error::{Error, ErrorKind};
use super::event::Event;
use super::keepalive::KeepAlive;
use super::methods::Methods;
use super::pending::Pending;
use super::play::Playback;
use super::version::Spoken;
use super::{Client, Phase, Step};
use crate::rtsp::auth::Authenticator;
use crate::rtsp::limits;
use crate::rtsp::url::{Url, redact};

/// The URLs of one start, in order.
pub(super) struct Chain {
    visited: Vec<String>,
}

impl Chain {
    pub fn new(start: &Url) -> Self {
        Self {
            visited: vec![key(start)],
        }
    }

    /// The URL to go to, or why not.
    pub fn follow(&mut self, from: &Url, location: &str) -> Result<Url, String> {
        let to = target(location)
            .ok_or_else(|| format!("no usable RTSP URL to redirect to: {}", redact(location)))?;
        if from.is_tls() && !to.is_tls() {
            return Err("a redirect from TLS to clear text is not followed".into());
        }
        let key = key(&to);
        let seen = self.visited.contains(&key);
        // The start is not a redirect.
        let full = self.visited.len() > limits::REDIRECTS;
        self.visited.push(key);
        if seen || full {
            let why = if seen {
                "redirects run in a circle"
            } else {
                "too many redirects"
            };
            let chain: Vec<_> = self.visited.iter().map(|url| redact(url)).collect();
            return Err(format!("{why}: {}", chain.join(" -> ")));
        }
        Ok(from.redirected(to))
    }
}

/// An absolute `rtsp` or `rtsps` URL. (The other schemes that a user may configure are not RTSP's.)
pub(super) fn target(location: &str) -> Option<Url> {
    let (scheme, _) = location.split_once(':')?;
    let known = ["rtsp", "rtsps"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    known.then(|| Url::parse(location).ok()).flatten()
}

/// Scheme and host compare without case, the rest byte for byte.
fn key(url: &Url) -> String {
    let uri = url.request_uri();
    let authority_end = uri
        .match_indices('/')
        .nth(2)
        .map_or(uri.len(), |(position, _)| position);
    match uri.split_at_checked(authority_end) {
        Some((authority, rest)) => authority.to_ascii_lowercase() + rest,
        None => uri.to_string(),
    }
}

impl Client {
    /// Starts again at another place. `refused` is the 3xx response that said so, if one did.
    pub(super) fn follow_redirect(&mut self, location: &str, refused: Option<Error>, now: Instant) {
        if matches!(self.step, Step::Closing | Step::Closed) {
            return;
        }
        let to = match self.redirects.follow(&self.url, location) {
            Ok(to) => to,
            Err(why) => {
                let error = refused.unwrap_or_else(|| {
                    Error::new(
                        ErrorKind::Redirect,
                        Phase::Established,
                        self.url.request_uri(),
                        "",
                    )
                });
                return self.fail(error.because(why), now);
            }
        };
        self.drop_calls("the server redirected us");
        self.forget_reviews();
        self.say_teardown(now);
        self.forget_session();
        // Credentials stay with the origin for which they were given; those in Location are
        // the server's, not the user's.
        if !self.url.same_origin(&to) {
            self.auth = Authenticator::new(None);
        }
        self.emit(Event::Redirected { to: to.to_string() });
        self.url = to;
        self.calls = Pending::new(self.config.initial_cseq, self.config.response_timeout);
        self.spoken = Spoken::new(self.config.version);
        self.methods = Methods::default();
        self.presentation = None;
        self.playback = Playback::default();
        self.keep_alive = KeepAlive::new();
        self.resend = None;
        self.redirect_at = None;
        self.repeated = false;
        self.skip_options = false;
        self.lost_once = false;
        self.was_ready = false;
        self.server = None;
        self.step = Step::Options;
        self.connect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(start: &str) -> (Chain, Url) {
        let url = Url::parse(start).unwrap();
        (Chain::new(&url), url)
    }

    // covers: C-REDIR-01, H-19, H-20
    #[test]
    fn only_absolute_rtsp_urls_are_followed() {
        for location in [
            "",
            "/x",
            "x",
            "//h/x",
            "http://h/x",
            "rtspu://h/x",
            "rtspt://h/x",
            "rtsp:",
            "rtsp://",
            "rtsp://h/a b",
            "rtsp://h/\r\nX: y",
        ] {
            let (mut chain, start) = chain("rtsp://a/1");
            assert!(chain.follow(&start, location).is_err(), "{location:?}");
        }
        let (mut chain, start) = chain("rtsp://a/1");
        assert_eq!(
            chain.follow(&start, "RTSP://B:8554/2?x").unwrap().port(),
            8554
        );
    }

    // covers: C-REDIR-02, H-19
    #[test]
    fn five_redirects_are_followed_and_the_sixth_is_not() {
        let (mut chain, mut from) = chain("rtsp://a/0");
        for n in 1..=limits::REDIRECTS {
            from = chain.follow(&from, &format!("rtsp://a/{n}")).unwrap();
        }
        let error = chain.follow(&from, "rtsp://a/99").unwrap_err();
        assert!(
            error.contains("rtsp://a/0") && error.contains("rtsp://a/99"),
            "{error}"
        );
    }

    // covers: C-REDIR-02, H-19
    #[test]
    fn a_circle_is_an_error_that_shows_it() {
        for (location, back) in [("rtsp://b/x", "RTSP://A/x"), ("rtsp://a/y", "rtsp://a/x")] {
            let (mut chain, start) = chain("rtsp://a/x");
            let next = chain.follow(&start, location).unwrap();
            assert!(chain.follow(&next, back).unwrap_err().contains("circle"));
        }
        let (mut chain, start) = chain("rtsp://a/x");
        assert!(chain.follow(&start, "rtsp://a/x").is_err());
        assert!(
            chain.follow(&start, "rtsp://a/X").is_ok(),
            "paths differ by case"
        );
    }

    #[test]
    fn a_redirect_stays_in_the_tunnel() {
        for (start, location, then) in [
            ("rtsph://a/x", "rtsp://b:8080/y", "rtsph://b:8080/y"),
            ("rtsph://a/x", "rtsps://b/y", "rtspsh://b/y"),
            ("rtsp+ws://a/x", "rtsp://b/y", "rtsp+ws://b/y"),
            ("wss://a/x", "rtsps://b/y", "rtsps+ws://b/y"),
            ("rtspt://a/x", "rtsp://b/y", "rtsp://b/y"),
        ] {
            let (mut chain, start) = chain(start);
            let to = chain.follow(&start, location).unwrap();
            assert_eq!(to.to_string(), then);
        }
    }

    // covers: C-REDIR-03, H-20
    #[test]
    fn tls_is_never_left() {
        let (mut chain, start) = chain("rtsps://a/x");
        assert!(chain.follow(&start, "rtsp://a/y").is_err());
        let (mut chain, start) = self::chain("rtsp://a/x");
        assert!(chain.follow(&start, "rtsps://a/x").is_ok());
    }
}
