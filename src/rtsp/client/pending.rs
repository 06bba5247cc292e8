//! Requests that wait for their response: CSeq matching, deadlines, 1xx
//! (RFC 2326 §12.17, RFC 7826 §10.4, §18.20).

use std::time::{Duration, Instant};

use crate::rtsp::limits;
use crate::rtsp::message::{Request, Response};
use crate::rtsp::parse;

/// Nine digits are what every peer can read (RFC 7826 §18.20).
const CSEQ_MAX: u32 = 999_999_999;

/// Why a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// TEARDOWN of a session of an earlier connection. Its answer does not matter.
    Cleanup,
    Options,
    Describe,
    Announce,
    Setup {
        stream: usize,
    },
    /// `stream` is None under aggregate control.
    Play {
        stream: Option<usize>,
    },
    Record {
        stream: Option<usize>,
    },
    Pause {
        stream: Option<usize>,
    },
    /// `verify`: whether the session still lives is not known, so it must be answered.
    KeepAlive {
        verify: bool,
    },
    Teardown,
    User(u64),
}

impl Purpose {
    /// What the application may see and change: all but what keeps the session in order.
    pub fn is_reviewed(self) -> bool {
        !matches!(self, Purpose::Cleanup | Purpose::KeepAlive { .. })
    }

    /// Requests of which only one may be open (RFC 2326 §9.1).
    pub fn is_serial(self) -> bool {
        !matches!(
            self,
            Purpose::KeepAlive { verify: false } | Purpose::User(_)
        )
    }
}

/// A request without CSeq and Authorization, and how often it was tried.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub purpose: Purpose,
    pub request: Request,
    /// How often it was repeated with other credentials.
    pub auth_tries: u32,
    /// Whether credentials went with it.
    pub authorized: bool,
    /// Whether it was repeated on a new connection after a timeout.
    pub repeated: bool,
    pub sent: Instant,
}

impl Call {
    pub fn new(purpose: Purpose, request: Request, now: Instant) -> Self {
        Self {
            purpose,
            request,
            auth_tries: 0,
            authorized: false,
            repeated: false,
            sent: now,
        }
    }
}

struct Waiting {
    call: Call,
    cseq: u32,
    deadline: Instant,
    cap: Instant,
    provisional: u32,
}

/// What a response belongs to.
pub(super) enum Match {
    Final(Call),
    Provisional,
    /// Nobody asked for it.
    Stray,
}

pub(super) struct Pending {
    waiting: Vec<Waiting>,
    /// Those under review, by its number: open, but not sent yet.
    held: Vec<(u64, Call)>,
    next_cseq: u32,
    wait: Duration,
}

impl Pending {
    pub fn new(first_cseq: u32, wait: Duration) -> Self {
        // No wait at all would time out for ever.
        let wait = wait.max(Duration::from_millis(1));
        Self {
            waiting: Vec::new(),
            held: Vec::new(),
            next_cseq: first_cseq.clamp(1, CSEQ_MAX),
            wait,
        }
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len().saturating_add(self.held.len()) >= limits::OUTSTANDING
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    pub fn hold(&mut self, review: u64, call: Call) {
        self.held.push((review, call));
    }

    /// The request that was put to this review, if it is still wanted.
    pub fn release(&mut self, review: u64) -> Option<Call> {
        let position = self.held.iter().position(|(id, _)| *id == review)?;
        Some(self.held.remove(position).1)
    }

    /// The number for a new request; each is used once.
    pub fn next_cseq(&mut self) -> u32 {
        let cseq = self.next_cseq;
        self.next_cseq = if cseq >= CSEQ_MAX {
            1
        } else {
            cseq.saturating_add(1)
        };
        cseq
    }

    pub fn push(&mut self, cseq: u32, call: Call, now: Instant) {
        if self.waiting.len() >= limits::OUTSTANDING {
            // A server that never answers keep-alives must not stop them.
            let old = self
                .waiting
                .iter()
                .position(|w| !w.call.purpose.is_serial());
            self.waiting.remove(old.unwrap_or_default());
        }
        let wait = match call.purpose {
            Purpose::Cleanup => self.wait.min(limits::CLEANUP_WAIT),
            _ => self.wait,
        };
        self.waiting.push(Waiting {
            call,
            cseq,
            deadline: after(now, wait),
            cap: after(now, limits::RESPONSE_CAP.max(self.wait)),
            provisional: 0,
        });
    }

    pub fn take(&mut self, response: &Response, now: Instant) -> Match {
        let position = match response.headers.get("CSeq") {
            Some(_) => parse::cseq(&response.headers)
                .and_then(|cseq| self.waiting.iter().position(|w| w.cseq == cseq)),
            // Some devices leave it out; then it is clear only while one request is open.
            None if self.waiting.len() == 1 => Some(0),
            None => None,
        };
        let Some(position) = position else {
            return Match::Stray;
        };
        if !(100..200).contains(&response.status) {
            return Match::Final(self.waiting.remove(position).call);
        }
        if let Some(waiting) = self.waiting.get_mut(position)
            && waiting.provisional < limits::PROVISIONAL
        {
            waiting.provisional = waiting.provisional.saturating_add(1);
            waiting.deadline = after(now, self.wait).min(waiting.cap);
        }
        Match::Provisional
    }

    /// A request whose response did not come in time.
    pub fn expired(&mut self, now: Instant) -> Option<Call> {
        let position = self.waiting.iter().position(|w| w.deadline <= now)?;
        Some(self.waiting.remove(position).call)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|w| w.deadline).min()
    }

    pub fn any(&self, test: impl Fn(Purpose) -> bool) -> bool {
        self.open().any(test)
    }

    pub fn count(&self, test: impl Fn(Purpose) -> bool) -> usize {
        self.open().filter(|purpose| test(*purpose)).count()
    }

    fn open(&self) -> impl Iterator<Item = Purpose> {
        let waiting = self.waiting.iter().map(|w| w.call.purpose);
        waiting.chain(self.held.iter().map(|(_, call)| call.purpose))
    }

    pub fn has_serial(&self) -> bool {
        self.any(Purpose::is_serial)
    }

    /// No response of a lost connection can complete a request.
    pub fn drain(&mut self) -> Vec<Call> {
        let held = self.held.drain(..).map(|(_, call)| call);
        self.waiting.drain(..).map(|w| w.call).chain(held).collect()
    }
}

/// An instant so far away that it cannot be named never comes; a day stands for it.
pub(super) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait)
        .or_else(|| now.checked_add(limits::SESSION_TIMEOUT_MAX))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::message::{Method, Version};

    fn pending(calls: u32, now: Instant) -> Pending {
        let mut pending = Pending::new(1, limits::RESPONSE_WAIT);
        for id in 0..calls {
            let cseq = pending.next_cseq();
            let request = Request::new(Method::Options, "rtsp://h/", Version::V1_0);
            pending.push(cseq, Call::new(Purpose::User(id.into()), request, now), now);
        }
        pending
    }

    fn response(status: u16, cseq: Option<&str>) -> Response {
        let mut response = Response::new(status, "", Version::V1_0);
        if let Some(cseq) = cseq {
            response.headers.push("cseq", cseq);
        }
        response
    }

    fn taken(pending: &mut Pending, cseq: Option<&str>, now: Instant) -> Option<u64> {
        match pending.take(&response(200, cseq), now) {
            Match::Final(Call {
                purpose: Purpose::User(id),
                ..
            }) => Some(id),
            _ => None,
        }
    }

    // covers: C-CSEQ-02, C-CSEQ-04, H-08
    #[test]
    fn a_response_is_matched_only_by_its_number() {
        let now = Instant::now();
        let mut two = pending(2, now);
        for stray in [
            Some("3"),
            Some("0"),
            Some("99999999999999999999"),
            Some("-1"),
            Some("x"),
            None,
        ] {
            assert_eq!(taken(&mut two, stray, now), None, "{stray:?}");
        }
        assert_eq!(taken(&mut two, Some(" 002 "), now), Some(1));
        assert_eq!(
            taken(&mut two, Some("2"), now),
            None,
            "the same answer twice"
        );
        assert_eq!(
            taken(&mut two, None, now),
            Some(0),
            "one is open, so it is clear"
        );
        assert_eq!(taken(&mut two, None, now), None);
    }

    // covers: C-CSEQ-01
    #[test]
    fn numbers_grow_by_one_and_stay_within_nine_digits() {
        let mut pending = Pending::new(CSEQ_MAX - 1, limits::RESPONSE_WAIT);
        assert_eq!(
            [0; 3].map(|_| pending.next_cseq()),
            [CSEQ_MAX - 1, CSEQ_MAX, 1]
        );
    }

    // covers: C-CSEQ-06, C-STAT-02, H-06
    #[test]
    fn provisional_responses_restart_the_wait_up_to_a_cap() {
        let start = Instant::now();
        let mut one = pending(1, start);
        assert_eq!(one.deadline(), Some(start + limits::RESPONSE_WAIT));
        let later = start + Duration::from_secs(9);
        assert!(matches!(
            one.take(&response(100, Some("1")), later),
            Match::Provisional
        ));
        assert_eq!(one.deadline(), Some(later + limits::RESPONSE_WAIT));
        let last = start + Duration::from_secs(59);
        assert!(matches!(
            one.take(&response(199, Some("1")), last),
            Match::Provisional
        ));
        assert_eq!(one.deadline(), Some(start + limits::RESPONSE_CAP));
        assert!(one.expired(last).is_none());
        assert!(one.expired(start + limits::RESPONSE_CAP).is_some());
        assert!(matches!(
            one.take(&response(100, Some("1")), last),
            Match::Stray
        ));
    }

    // covers: H-06
    #[test]
    fn a_flood_of_provisional_responses_is_not_waited_for() {
        let start = Instant::now();
        let mut one = pending(1, start);
        for _ in 0..limits::PROVISIONAL {
            one.take(&response(100, Some("1")), start);
        }
        one.take(&response(100, Some("1")), start + Duration::from_secs(5));
        assert_eq!(one.deadline(), Some(start + limits::RESPONSE_WAIT));
    }

    // covers: C-CSEQ-08
    #[test]
    fn the_table_is_bounded() {
        let now = Instant::now();
        let mut full = pending(limits::OUTSTANDING as u32, now);
        assert!(full.is_full());
        let cseq = full.next_cseq();
        let request = Request::new(Method::Options, "rtsp://h/", Version::V1_0);
        full.push(cseq, Call::new(Purpose::Teardown, request, now), now);
        assert_eq!(full.waiting.len(), limits::OUTSTANDING);
        assert!(full.has_serial());
    }
}
