//! Which streams there are, and when all that will come are known.

use crate::caps::Announced;

/// What is known of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// No caps yet.
    Waiting,
    Known(Box<Announced>),
    /// EOS or released; nothing more comes.
    Ended,
    /// Its caps did not come in time.
    LeftOut,
}

/// Pads are numbered below this. What is above it in the number of a stream tells
/// it from those that its pad's number had before: they have ended.
const PADS: u32 = 1 << 16;

/// The streams of one start, by number, which is the order of their pads.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<(u32, State)>,
    announced: Vec<u32>,
    released: u32,
    announcements: u64,
}

/// What a change asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Others have caps: these have a while to get theirs.
    Wait(Vec<u32>),
    /// All are known: these are to be published, in this order. The number is that of
    /// the announcement.
    Announce(u64, Vec<(u32, Announced)>),
}

impl Streams {
    /// Forgets what was known; all begin anew.
    pub fn restart(&mut self) {
        self.announced.clear();
        for (_, state) in &mut self.streams {
            *state = State::Waiting;
        }
    }

    /// Adds a stream for the pad of this number, or of the lowest free one: the
    /// numbers of the pad and of the stream. [`Self::wait_for`] is to follow.
    pub fn add(&mut self, pad: Option<u32>) -> Option<(u32, u32)> {
        let streams = &self.streams;
        let free = |pad: &u32| streams.iter().all(|(number, _)| number % PADS != *pad);
        let pad = match pad {
            Some(pad) => Some(pad).filter(|pad| *pad < PADS && free(pad))?,
            None => (0..PADS).find(free)?,
        };
        let stream = self.released.wrapping_mul(PADS).wrapping_add(pad);
        let order = |number: u32| (number % PADS, number);
        let at = streams.partition_point(|(number, _)| order(*number) < order(stream));
        self.streams.insert(at, (stream, State::Waiting));
        Some((pad, stream))
    }

    /// A stream without caps, while others have theirs.
    pub fn wait_for(&self, stream: u32) -> Action {
        match self.state(stream) {
            Some(State::Waiting) if self.any_known() => Action::Wait(vec![stream]),
            _ => Action::Nothing,
        }
    }

    fn any_known(&self) -> bool {
        let mut states = self.streams.iter().map(|(_, state)| state);
        states.any(|state| matches!(state, State::Known(_)))
    }

    /// One that ended before it had begun begins after all.
    pub fn resume(&mut self, stream: u32) -> Action {
        if self.state(stream) == Some(&State::Ended) {
            self.set(stream, State::Waiting);
        }
        self.wait_for(stream)
    }

    /// Takes a stream off the list.
    pub fn remove(&mut self, stream: u32) -> Action {
        self.streams.retain(|(number, _)| *number != stream);
        self.announced.retain(|number| *number != stream);
        self.released = self.released.wrapping_add(1);
        self.next()
    }

    /// It ends; true if it was published.
    pub fn end(&mut self, stream: u32) -> Action {
        self.set(stream, State::Ended);
        self.next()
    }

    pub fn is_announced(&self, stream: u32) -> bool {
        self.announced.contains(&stream)
    }

    pub fn announced(&self, stream: u32) -> Option<&Announced> {
        match self.state(stream)? {
            State::Known(announced) => Some(announced),
            _ => None,
        }
    }

    /// The caps of a stream, for the first time or anew.
    pub fn caps(&mut self, stream: u32, media: Announced) -> Action {
        let first = !self.any_known();
        let goes_on = match self.state(stream) {
            Some(State::Known(before)) => before.goes_on_as(&media),
            Some(State::Waiting) => false,
            _ => return Action::Nothing,
        };
        self.set(stream, State::Known(Box::new(media)));
        if goes_on {
            return Action::Nothing;
        }
        self.announced.retain(|number| *number != stream);
        match self.next() {
            Action::Nothing if first => {
                let waiting = self.streams.iter();
                let waiting = waiting.filter(|(_, state)| *state == State::Waiting);
                Action::Wait(waiting.map(|(number, _)| *number).collect())
            }
            action => action,
        }
    }

    /// The wait for these is over: those that are left out, and what to do.
    pub fn stop_waiting(&mut self, waited_for: &[u32]) -> (Vec<u32>, Action) {
        let mut late = Vec::new();
        for (number, state) in &mut self.streams {
            if *state == State::Waiting && waited_for.contains(number) {
                *state = State::LeftOut;
                late.push(*number);
            }
        }
        (late, self.next())
    }

    /// Announces when nothing is waited for and something new is known.
    fn next(&mut self) -> Action {
        if self
            .streams
            .iter()
            .any(|(_, state)| *state == State::Waiting)
        {
            return Action::Nothing;
        }
        let known: Vec<(u32, Announced)> = self
            .streams
            .iter()
            .filter_map(|(number, state)| match state {
                State::Known(media) => Some((*number, (**media).clone())),
                _ => None,
            })
            .collect();
        if known.iter().all(|(number, _)| self.is_announced(*number)) {
            return Action::Nothing;
        }
        self.announced = known.iter().map(|(number, _)| *number).collect();
        self.announcements = self.announcements.saturating_add(1);
        Action::Announce(self.announcements, known)
    }

    fn state(&self, stream: u32) -> Option<&State> {
        let found = self.streams.iter().find(|(number, _)| *number == stream);
        found.map(|(_, state)| state)
    }

    fn set(&mut self, stream: u32, to: State) {
        if let Some((_, state)) = self
            .streams
            .iter_mut()
            .find(|(number, _)| *number == stream)
        {
            *state = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(encoding: &str) -> Announced {
        gst::init().unwrap();
        let caps: gst::Caps = format!(
            "application/x-rtp,media=video,payload=96,clock-rate=90000,encoding-name={encoding}"
        )
        .parse()
        .unwrap();
        crate::caps::announced(&caps).unwrap()
    }

    fn announced(action: Action) -> Vec<u32> {
        match action {
            Action::Announce(_, streams) => streams.into_iter().map(|(number, _)| number).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn three() -> Streams {
        let mut streams = Streams::default();
        for number in [1, 0, 2] {
            streams.add(Some(number));
        }
        streams
    }

    #[test]
    fn all_are_announced_together_in_the_order_of_the_pads() {
        let mut streams = three();
        assert_eq!(streams.caps(1, media("VP8")), Action::Wait(vec![0, 2]));
        assert_eq!(streams.caps(0, media("VP8")), Action::Nothing);
        assert_eq!(announced(streams.caps(2, media("VP8"))), [0, 1, 2]);
    }

    #[test]
    fn one_that_never_gets_caps_is_left_out() {
        let mut streams = three();
        streams.caps(0, media("VP8"));
        streams.caps(2, media("VP8"));
        let (late, action) = streams.stop_waiting(&[0, 1]);
        assert_eq!(late, [1]);
        assert_eq!(announced(action), [0, 2]);
        assert_eq!(streams.caps(1, media("VP8")), Action::Nothing, "too late");
        assert_eq!(streams.state(1), Some(&State::LeftOut));
    }

    #[test]
    fn one_that_ends_or_is_released_is_not_waited_for() {
        let mut streams = three();
        streams.caps(0, media("VP8"));
        assert_eq!(streams.end(1), Action::Nothing);
        assert_eq!(announced(streams.remove(2)), [0]);
        assert!(streams.is_announced(0) && !streams.is_announced(1));
    }

    #[test]
    fn nothing_is_announced_when_all_have_ended() {
        let mut streams = three();
        for number in 0..3 {
            assert_eq!(streams.end(number), Action::Nothing);
        }
    }

    // covers: P-PUB-13
    #[test]
    fn other_media_are_announced_anew_and_what_the_stream_says_itself_is_not() {
        let mut streams = Streams::default();
        streams.add(Some(0));
        assert_eq!(announced(streams.caps(0, media("H264"))), [0]);
        assert_eq!(streams.caps(0, media("H264")), Action::Nothing);
        assert_eq!(announced(streams.caps(0, media("H265"))), [0]);
        streams.add(Some(1));
        assert_eq!(announced(streams.caps(1, media("VP8"))), [0, 1]);
        streams.restart();
        assert!(!streams.is_announced(0));
        assert_eq!(streams.caps(1, media("VP8")), Action::Wait(vec![0]));
    }

    #[test]
    fn one_that_is_requested_later_has_its_own_while_to_get_caps() {
        let mut streams = Streams::default();
        streams.add(Some(0));
        assert_eq!(streams.wait_for(0), Action::Nothing, "nobody has caps");
        streams.caps(0, media("VP8"));
        for pad in [1, 2] {
            streams.add(Some(pad));
            assert_eq!(streams.wait_for(pad), Action::Wait(vec![pad]));
        }
        assert_eq!(streams.stop_waiting(&[1]), (vec![1], Action::Nothing));
        assert_eq!(announced(streams.caps(2, media("VP8"))), [0, 2]);
        assert!(streams.stop_waiting(&[2]).0.is_empty());
    }

    #[test]
    fn announcements_are_numbered() {
        let mut streams = three();
        streams.caps(0, media("VP8"));
        streams.caps(1, media("VP8"));
        let first = streams.caps(2, media("VP8"));
        let second = streams.caps(1, media("H264"));
        let number = |action| match action {
            Action::Announce(number, _) => number,
            other => panic!("{other:?}"),
        };
        assert!(number(first) < number(second));
    }

    #[test]
    fn one_that_ended_unseen_can_begin_after_all() {
        let mut streams = three();
        streams.caps(0, media("VP8"));
        streams.end(1);
        assert_eq!(announced(streams.end(2)), [0]);
        assert_eq!(streams.resume(0), Action::Nothing);
        assert_eq!(streams.resume(1), Action::Wait(vec![1]));
        assert_eq!(announced(streams.caps(1, media("VP8"))), [0, 1]);
    }

    #[test]
    fn a_pad_number_that_is_used_again_is_another_stream() {
        let mut streams = Streams::default();
        assert_eq!(streams.add(None), Some((0, 0)));
        assert_eq!(streams.add(None), Some((1, 1)));
        assert_eq!(streams.add(Some(1)), None, "taken");
        assert_eq!(streams.add(Some(PADS)), None);
        streams.remove(0);
        let (pad, stream) = streams.add(None).unwrap();
        assert_eq!(pad, 0);
        assert_ne!(stream, 0);
        let order: Vec<u32> = streams.streams.iter().map(|(number, _)| *number).collect();
        assert_eq!(order, [stream, 1], "the order is that of the pads");
    }
}
