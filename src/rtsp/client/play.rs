//! PLAY and PAUSE: wishes, aggregate or per-stream control, Range (RFC 2326 §10.5, §10.6).

use std::time::Instant;

use super::error::Error;
use super::event::Event;
use super::pending::{Call, Purpose};
use super::seek::Seeks;
use super::{Client, Intent, State, Wish};
use crate::rtsp::message::{Headers, Method, Request, Response, Version};
use crate::rtsp::range::{Range, parse_decimal};
use crate::rtsp::rtp_info::{self, RtpInfo};

#[derive(Default)]
pub(super) struct Playback {
    /// Each stream on its own URL, instead of all on the aggregate one.
    pub per_stream: bool,
    /// The control mode was switched, which is done once.
    switched: bool,
    /// The server refused the Range of the first PLAY.
    without_range: bool,
    /// A PLAY has succeeded: the next one resumes.
    played: bool,
    /// The server plays on while its media is dropped here.
    pub(super) paused_locally: bool,
    pub(super) seeks: Seeks,
    /// Streams that answered in this round of per-stream control.
    done: Vec<usize>,
    reply: Reply,
}

/// What the answers of one round say.
#[derive(Default)]
struct Reply {
    range: Option<Range>,
    info: Vec<(usize, RtpInfo)>,
    scale: Option<f64>,
    speed: Option<f64>,
}

impl Client {
    /// Only the last wish counts; what came between was never asked for.
    pub(super) fn follow_wish(&mut self, now: Instant) {
        match (self.wish, self.state) {
            (Some(Wish::Play), State::Ready) => match self.config.intent {
                Intent::Play => self.send_play(now),
                Intent::Record => self.send_record(now),
            },
            (Some(Wish::Play), State::Playing) if self.playback.seeks.are_wanted() => {
                self.move_position(now)
            }
            (Some(Wish::Play), state) if state.is_running() && self.playback.paused_locally => {
                self.playback.paused_locally = false;
                self.emit(match self.config.intent {
                    Intent::Play => Event::Playing {
                        seek: None,
                        range: None,
                        info: Vec::new(),
                        scale: None,
                        speed: None,
                    },
                    Intent::Record => Event::Recording { location: None },
                });
            }
            (Some(Wish::Pause), state) if state.is_running() && !self.playback.paused_locally => {
                self.send_pause(now)
            }
            _ => {}
        }
    }

    pub(super) fn send_play(&mut self, now: Instant) {
        if !self.ready_link() {
            return;
        }
        self.take_up_seek();
        let (stream, url) = self.control_target();
        let mut request = self.control_request(Method::Play, &url);
        if let Some(range) = self.play_range() {
            request.headers.push("Range", range);
        }
        self.push_pace(&mut request);
        self.send(Purpose::Play { stream }, request, now);
    }

    /// None to resume, since a Range would seek; else stated, since some servers refuse without.
    fn play_range(&self) -> Option<String> {
        if let Some(range) = self.playback.seeks.range() {
            return Some(range.to_string());
        }
        if self.playback.played || self.playback.without_range {
            return None;
        }
        let described = self
            .presentation
            .as_ref()
            .and_then(|presentation| presentation.sdp.range());
        let closed = described.as_ref().is_some_and(|range| range.is_closed());
        let start = self.config.start.filter(|_| closed);
        let range = match described {
            Some(range) if start.is_some() => Range::between(range.unit, start, None),
            Some(range) if range.starts_now() => Some(Range::npt_now()),
            Some(range) if self.config.replay.is_some() => Some(range),
            // What there is of a recording is for the server to know.
            None if self.config.replay.is_some() => None,
            _ => return Some("npt=0-".to_string()),
        };
        range.map(|range| range.to_string())
    }

    pub(super) fn on_play(
        &mut self,
        stream: Option<usize>,
        call: Call,
        response: Response,
        now: Instant,
    ) {
        self.lost_once = false;
        if !response.is_success() {
            let with_range = call.request.headers.get("Range").is_some();
            if self.playback.played
                && let Some(id) = self.playback.seeks.refused()
            {
                // The session lives on, from where it was.
                self.playback.done.clear();
                self.playback.reply = Reply::default();
                let error = self.refused(&call, &response);
                return self.emit(Event::SeekRefused { id, error });
            }
            return match response.status {
                400 | 456 | 457 if with_range => {
                    // Without the seek that it may have been for.
                    match self.playback.seeks.refused() {
                        Some(id) => {
                            let error = self.refused(&call, &response);
                            self.emit(Event::SeekRefused { id, error });
                        }
                        None => {
                            self.playback.without_range = true;
                            self.quirk("play-range-refused");
                        }
                    }
                }
                status if self.switch_control(status) => {}
                _ => self.fail(self.refused(&call, &response), now),
            };
        }
        self.read_play_reply(stream, &call, &response);
        if !self.round_is_done(stream) {
            return;
        }
        let Reply {
            range,
            info,
            scale,
            speed,
        } = std::mem::take(&mut self.playback.reply);
        self.state = State::Playing;
        self.playback.played = true;
        self.playback.paused_locally = false;
        let seek = self.playback.seeks.granted();
        self.emit(Event::Playing {
            seek,
            range,
            info,
            scale,
            speed,
        });
    }

    /// The scale of what is played has changed without our asking (RFC 7826 §13.5.3).
    pub(super) fn play_notified(&mut self, headers: &Headers) {
        if self.state != State::Playing {
            return;
        }
        let mut reply = Response::new(200, "OK", Version::V2_0);
        reply.headers = headers.clone();
        let notice = Request::new(Method::PlayNotify, self.aggregate_url(), Version::V2_0);
        let call = Call::new(Purpose::Play { stream: None }, notice, Instant::now());
        self.read_play_reply(None, &call, &reply);
        let Reply {
            range,
            info,
            scale,
            speed,
        } = std::mem::take(&mut self.playback.reply);
        self.emit(Event::Playing {
            seek: None,
            range,
            info,
            scale,
            speed,
        });
    }

    fn read_play_reply(&mut self, stream: Option<usize>, call: &Call, response: &Response) {
        let Some(presentation) = &self.presentation else {
            return;
        };
        let reply = &mut self.playback.reply;
        // What the server says it plays, not what it was asked for (RFC 2326 §12.29).
        let range = |headers: &Headers| {
            headers
                .get_str("Range")
                .and_then(|value| Range::parse(&value))
        };
        if let Some(range) = range(&response.headers).or_else(|| range(&call.request.headers)) {
            reply.range.get_or_insert(range);
        }
        let decimal = |name| {
            response
                .headers
                .get_str(name)
                .and_then(|value| parse_decimal(&value))
        };
        reply.scale = reply.scale.or(decimal("Scale"));
        reply.speed = reply.speed.or(decimal("Speed"));
        let Some(info) = response.headers.joined("RTP-Info") else {
            return;
        };
        let entries = rtp_info::parse(&info);
        let only = stream.is_some() || presentation.granted().count() == 1;
        let mut quirks = rtp_info::quirks(&info, &entries);
        let mut used = Vec::new();
        for (index, _) in presentation
            .granted()
            .filter(|(index, _)| stream.is_none_or(|s| s == *index))
        {
            let Some(stream) = presentation.streams.get(index) else {
                continue;
            };
            let Some(url) = presentation.stream_url(stream, presentation.join) else {
                continue;
            };
            let found = rtp_info::find(
                &entries,
                &url,
                &presentation.base,
                stream.control.as_deref(),
                only,
            );
            if let Some(entry) = found {
                used.push(entry);
                reply.info.push((stream.media, entry.clone()));
            } else {
                quirks.push("rtp-info-without-stream");
            }
        }
        let foreign = |entry: &RtpInfo| !used.iter().any(|used| std::ptr::eq(*used, entry));
        if !entries.is_empty() && stream.is_none() && entries.iter().any(foreign) {
            quirks.push("rtp-info-of-other-streams");
        }
        for quirk in quirks {
            self.quirk(quirk);
        }
    }

    pub(super) fn send_pause(&mut self, now: Instant) {
        let (stream, url) = self.control_target();
        let unlisted = self.methods.listed(&Method::Pause) == Some(false);
        if unlisted || self.methods.is_disabled(&Method::Pause, &url) {
            return self.pause_locally(None);
        }
        if self.ready_link() {
            let request = self.control_request(Method::Pause, &url);
            self.send(Purpose::Pause { stream }, request, now);
        }
    }

    pub(super) fn on_pause(
        &mut self,
        stream: Option<usize>,
        call: Call,
        response: Response,
        now: Instant,
    ) {
        self.lost_once = false;
        if !response.is_success() {
            if matches!(response.status, 459 | 460) && self.switch_control(response.status) {
                return;
            }
            if response.status >= 500 {
                self.keep_alive.hurry(now); // is the session still there? (RFC 7826 §B.4)
            }
            self.quirk("pause-refused");
            if self.pauses_to_move() {
                return self.playback.seeks.go_without_pause();
            }
            return self.pause_locally(Some(self.refused(&call, &response)));
        }
        if self.round_is_done(stream) {
            let moves = self.pauses_to_move();
            self.state = State::Ready;
            if !moves {
                self.emit(Event::Paused { remote: true });
            }
        }
    }

    /// The session goes on and is kept alive; its media is dropped.
    pub(super) fn pause_locally(&mut self, error: Option<Error>) {
        if let Some(error) = error {
            self.warn(error.to_string());
        }
        self.playback.done.clear();
        self.playback.paused_locally = true;
        self.emit(Event::Paused { remote: false });
    }

    /// The URL for the next PLAY, RECORD or PAUSE, and whose it is.
    pub(super) fn control_target(&self) -> (Option<usize>, String) {
        if self.playback.per_stream
            && let Some(presentation) = &self.presentation
        {
            for (index, _) in presentation
                .granted()
                .filter(|(index, _)| !self.playback.done.contains(index))
            {
                let url = presentation
                    .streams
                    .get(index)
                    .and_then(|stream| presentation.stream_url(stream, presentation.join));
                if let Some(url) = url {
                    return (Some(index), url);
                }
            }
        }
        (None, self.aggregate_url())
    }

    pub(super) fn round_is_done(&mut self, stream: Option<usize>) -> bool {
        let streams = self
            .presentation
            .as_ref()
            .map_or(0, |presentation| presentation.granted().count());
        self.playback.done.extend(stream);
        let done = stream.is_none() || self.playback.done.len() >= streams;
        if done {
            self.playback.done.clear();
        }
        done
    }

    /// From aggregate to per-stream control or back, once (RFC 2326 §11.3.10, §C.3).
    pub(super) fn switch_control(&mut self, status: u16) -> bool {
        let aggregate = self.aggregate_url();
        let differs = self.presentation.as_ref().is_some_and(|presentation| {
            presentation.granted().any(|(index, _)| {
                let stream = presentation.streams.get(index);
                stream
                    .and_then(|s| presentation.stream_url(s, presentation.join))
                    .is_some_and(|url| url != aggregate)
            })
        });
        if !matches!(status, 404 | 405 | 455 | 459 | 460) || self.playback.switched || !differs {
            return false;
        }
        self.playback.switched = true;
        self.playback.per_stream = !self.playback.per_stream;
        self.playback.done.clear();
        self.playback.reply = Reply::default();
        self.quirk(if self.playback.per_stream {
            "per-stream-control"
        } else {
            "aggregate-control"
        });
        true
    }
}
