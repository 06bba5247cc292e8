//! Keeping the session alive (RFC 2326 §12.37, RFC 7826 §10.5).

use std::time::{Duration, Instant};

use super::methods::Methods;
use super::pending::{Call, Purpose, after};
use super::{Client, Link, Step};
use crate::rtsp::limits;
use crate::rtsp::message::{Method, Response};

/// Half the session timeout, which from 10 s on is at least 5 s before its end.
pub(super) fn interval(timeout: Duration) -> Duration {
    timeout
        .checked_div(2)
        .unwrap_or_default()
        .clamp(limits::KEEP_ALIVE_MIN, limits::KEEP_ALIVE_MAX)
}

pub(super) struct KeepAlive {
    timeout: Duration,
    due: Option<Instant>,
    /// When the last request that the server counts was sent.
    last: Option<Instant>,
    /// In order of preference; the first that the server takes is kept.
    methods: Vec<Method>,
    current: usize,
}

impl KeepAlive {
    pub fn new() -> Self {
        Self {
            timeout: limits::SESSION_TIMEOUT,
            due: None,
            last: None,
            methods: Vec::new(),
            current: 0,
        }
    }

    /// A SETUP was accepted.
    pub fn start(
        &mut self,
        timeout: Duration,
        methods: &Methods,
        v2: bool,
        sent: Instant,
        now: Instant,
    ) {
        self.timeout = timeout;
        if self.methods.is_empty() {
            self.methods = ladder(methods, v2);
        }
        self.restart(sent, now);
    }

    pub fn stop(&mut self) {
        self.due = None;
        self.last = None;
        self.methods.clear();
        self.current = 0;
    }

    pub fn is_running(&self) -> bool {
        self.due.is_some()
    }

    /// A request of the session was answered: the server started its timer when it came.
    pub fn restart(&mut self, sent: Instant, now: Instant) {
        self.last = Some(sent);
        self.due = Some(after(sent, interval(self.timeout)).max(now));
    }

    /// A keep-alive goes out; the next is due whether or not it is answered.
    pub fn sent(&mut self, now: Instant) {
        self.due = Some(after(now, interval(self.timeout)));
    }

    pub fn hurry(&mut self, now: Instant) {
        if self.due.is_some() {
            self.due = Some(now);
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the server may have dropped the session: the machine slept, or nothing was answered.
    pub fn may_have_expired(&self, now: Instant) -> bool {
        self.due
            .is_some_and(|due| now.saturating_duration_since(due) > self.timeout)
    }

    pub fn interval(&self) -> Duration {
        interval(self.timeout)
    }

    /// The method to use, if the server has not refused them all for good.
    fn method(&self, methods: &Methods, url: &str) -> Option<Method> {
        let (before, after) = self.methods.split_at_checked(self.current)?;
        after
            .iter()
            .chain(before)
            .find(|method| !methods.is_disabled(method, url))
            .cloned()
    }

    /// The server does not take this one. False when that was the last: then it starts over,
    /// since a refused request of the session is still a sign of life to most servers.
    fn refused(&mut self, method: &Method) -> bool {
        let Some(position) = self.methods.iter().position(|m| m == method) else {
            return false;
        };
        if position < self.current {
            return true; // the answer to an older one; the method has changed since
        }
        let next = position.saturating_add(1);
        let left = next < self.methods.len();
        self.current = if left { next } else { 0 };
        left
    }
}

/// GET_PARAMETER and SET_PARAMETER where the server lists them, then OPTIONS, which all know, then
/// the unlisted ones: servers omit methods that they have, but some crash on an unknown one.
/// In 2.0 SET_PARAMETER comes first (RFC 7826 §10.5).
fn ladder(methods: &Methods, v2: bool) -> Vec<Method> {
    let mut parameters = [Method::GetParameter, Method::SetParameter];
    if v2 {
        parameters.reverse();
    }
    let (mut first, last): (Vec<_>, Vec<_>) = parameters
        .into_iter()
        .partition(|method| methods.listed(method) == Some(true));
    first.push(Method::Options);
    first.extend(last);
    first
}

impl Client {
    /// While the connection is down, the time to open it is another timer.
    pub(super) fn keep_alive_due(&self) -> Option<Instant> {
        let up = matches!(self.link, Link::Up { .. }) && self.config.keep_alive;
        self.keep_alive
            .due()
            .filter(|_| up && self.resend.is_none())
    }

    pub(super) fn keep_alive_if_due(&mut self, now: Instant) {
        let due = self.keep_alive_due().is_some_and(|due| due <= now);
        if !due || !matches!(self.step, Step::Setup | Step::Up) {
            return;
        }
        let verify = self.keep_alive.may_have_expired(now) && !self.calls.has_serial();
        if self.link_closing {
            // The new connection begins with one.
            self.ready_link();
        } else {
            self.send_keep_alive(verify, now);
        }
    }

    /// An empty request of the session, on the aggregate URL (RFC 2326 §10.8).
    pub(super) fn send_keep_alive(&mut self, verify: bool, now: Instant) {
        let url = self.aggregate_url();
        self.keep_alive.sent(now);
        if let Some(method) = self.keep_alive.method(&self.methods, &url) {
            let request = self.session_request(method, &url);
            self.send(Purpose::KeepAlive { verify }, request, now);
        }
    }

    pub(super) fn on_keep_alive(
        &mut self,
        verify: bool,
        call: Call,
        response: Response,
        now: Instant,
    ) {
        match response.status {
            400 | 405 | 451 | 501 | 551 => {
                if self.keep_alive.refused(&call.request.method) {
                    self.quirk("keep-alive-method-refused");
                    self.send_keep_alive(verify, now);
                } else {
                    self.quirk("keep-alive-refused");
                }
            }
            status if status >= 300 => self.warn(self.refused(&call, &response).to_string()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-KA-01, H-28
    #[test]
    fn the_interval_is_half_the_timeout_within_its_bounds() {
        let table = [
            (1, 1000),
            (2, 1000),
            (9, 4500),
            (10, 5000),
            (20, 10_000),
            (60, 30_000),
            (65, 30_000),
            (86_400, 30_000),
        ];
        for (timeout, millis) in table {
            let interval = interval(Duration::from_secs(timeout));
            assert_eq!(interval, Duration::from_millis(millis), "{timeout}");
            assert!(
                timeout < 10 || interval + Duration::from_secs(5) <= Duration::from_secs(timeout)
            );
        }
    }

    // covers: C-KA-02
    #[test]
    fn listed_methods_come_before_options_and_unlisted_ones_after() {
        use Method::*;
        let table = [
            (
                "OPTIONS, DESCRIBE, GET_PARAMETER, SET_PARAMETER",
                vec![GetParameter, SetParameter, Options],
            ),
            (
                "OPTIONS, SET_PARAMETER",
                vec![SetParameter, Options, GetParameter],
            ),
            ("OPTIONS, PLAY", vec![Options, GetParameter, SetParameter]),
        ];
        for (public, expected) in table {
            let mut methods = Methods::default();
            methods.set_public(public);
            assert_eq!(ladder(&methods, false), expected, "{public}");
        }
        assert_eq!(
            ladder(&Methods::default(), false),
            [Options, GetParameter, SetParameter]
        );
    }

    // covers: C-KA-01
    #[test]
    fn an_answered_request_restarts_the_timer_from_when_it_was_sent() {
        let now = Instant::now();
        let mut keep_alive = KeepAlive::new();
        keep_alive.start(
            Duration::from_secs(60),
            &Methods::default(),
            false,
            now,
            now,
        );
        let answered = now + Duration::from_secs(4);
        keep_alive.restart(now + Duration::from_secs(3), answered);
        assert_eq!(keep_alive.due(), Some(now + Duration::from_secs(33)));
        keep_alive.restart(now, now + Duration::from_secs(90));
        assert_eq!(
            keep_alive.due(),
            Some(now + Duration::from_secs(90)),
            "never in the past"
        );
    }
}
