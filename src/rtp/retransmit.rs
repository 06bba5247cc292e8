//! Packets that were sent, and their retransmission (RFC 4588); the other
//! side is in `rtx.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::RtpPacket;
use super::seq::{FIRST_CYCLE, extend_seq};
use crate::rtsp::limits;

/// Least time between two retransmissions of one packet.
const REPEAT_MIN: Duration = Duration::from_millis(10);
/// Retransmissions may take this part of what the media takes: more would
/// feed the congestion that lost the packets (RFC 4588 §7).
const SHARE: usize = 4;
/// What of that may be saved up: the largest burst of retransmissions.
const BURST: usize = 64 * 1024;

/// What was agreed on for the retransmission of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Source of the retransmissions (`a=ssrc-group:FID`, RFC 5576 §4.2).
    pub ssrc: u32,
    /// Original and retransmission payload types (`apt`, RFC 4588 §8.1).
    pub payload_types: Vec<(u8, u8)>,
    /// How long packets are kept (`rtx-time`, RFC 4588 §8.6).
    pub time: Duration,
}

#[derive(Debug)]
struct Kept<P> {
    ext_seq: u64,
    data: P,
    len: usize,
    sent: Instant,
    resent: Option<Instant>,
}

/// The last packets of a stream, in the order of their numbers.
#[derive(Debug)]
pub(super) struct History<P> {
    config: Config,
    kept: VecDeque<Kept<P>>,
    bytes: usize,
    /// Number of the next retransmission.
    sequence: u16,
    /// Bytes that retransmissions may take now.
    credit: usize,
}

impl<P: AsRef<[u8]>> History<P> {
    /// `sequence` is random (RFC 3550 §5.1).
    pub(super) fn new(config: Config, sequence: u16) -> Self {
        Self {
            config,
            kept: VecDeque::new(),
            bytes: 0,
            sequence,
            credit: BURST,
        }
    }

    /// Source of the retransmissions.
    pub(super) fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// Number of the next retransmission.
    pub(super) fn sequence(&self) -> u16 {
        self.sequence
    }

    /// A packet that was sent, and its number.
    pub(super) fn handle_sent(&mut self, sequence: u16, data: P, now: Instant) {
        let len = data.as_ref().len();
        self.credit = self.credit.saturating_add(len / SHARE).min(BURST);
        let ext_seq = match (self.kept.front(), self.kept.back()) {
            (Some(first), Some(last)) => {
                let ext_seq = extend_seq(last.ext_seq, sequence);
                let span = ext_seq.wrapping_sub(first.ext_seq).cast_signed();
                if span < 0 || span >= limits::RTX_PACKETS as i64 {
                    // Before all that is kept, or far ahead: another sequence.
                    self.clear();
                }
                ext_seq
            }
            _ => FIRST_CYCLE.wrapping_add(u64::from(sequence)),
        };
        // Behind the last one, but for ready-made RTP that is out of order.
        let at = match self.kept.back() {
            Some(last) if last.ext_seq >= ext_seq => {
                self.kept.partition_point(|kept| kept.ext_seq < ext_seq)
            }
            _ => self.kept.len(),
        };
        self.bytes = self.bytes.saturating_add(len);
        self.kept.insert(
            at,
            Kept {
                ext_seq,
                data,
                len,
                sent: now,
                resent: None,
            },
        );
        self.expire(now);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.kept.front() {
            let old = now.saturating_duration_since(first.sent) > self.config.time;
            let full = self.bytes > limits::RTX_BYTES || self.kept.len() > limits::RTX_PACKETS;
            if !old && !full {
                break;
            }
            self.bytes = self.bytes.saturating_sub(first.len);
            self.kept.pop_front();
        }
    }

    /// The packets are of another source from here on.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    /// The retransmission of a packet that was asked for. None if it is not
    /// kept any more, was repeated within the round-trip time (the repetition
    /// is still on its way), or if retransmissions take too much already.
    pub(super) fn retransmit(
        &mut self,
        sequence: u16,
        rtt: Duration,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.expire(now);
        let last = self.kept.back()?.ext_seq;
        let ext_seq = extend_seq(last, sequence);
        let at = self.kept.partition_point(|kept| kept.ext_seq < ext_seq);
        let kept = self.kept.get_mut(at).filter(|k| k.ext_seq == ext_seq)?;
        let again = |at: Instant| now.saturating_duration_since(at) >= rtt.max(REPEAT_MIN);
        if !kept.resent.is_none_or(again) {
            return None;
        }
        let credit = self.credit.checked_sub(kept.len)?;
        let data = wrap(&self.config, kept.data.as_ref(), self.sequence)?;
        kept.resent = Some(now);
        self.credit = credit;
        self.sequence = self.sequence.wrapping_add(1);
        Some(data)
    }
}

/// The retransmission of a packet (RFC 4588 §4): the original number before
/// the payload; marker, timestamp, CSRC list and extension as they were.
fn wrap(config: &Config, original: &[u8], sequence: u16) -> Option<Vec<u8>> {
    let packet = RtpPacket::parse(original)?;
    let (_, payload_type) = config
        .payload_types
        .iter()
        .find(|(original, _)| *original == packet.payload_type)?;
    let (&[flags, second, ..], after) = original.split_first_chunk::<12>()?;
    // CSRC list and extension: what lies between fixed header and payload.
    let extension = packet
        .extension
        .map_or(0, |(_, content)| content.len().saturating_add(4));
    let extra = packet.csrc.len().saturating_add(extension);
    let mut data = Vec::with_capacity(original.len().saturating_add(2));
    // The padding is left out, so its flag is too.
    data.extend([flags & !0x20, second & 0x80 | payload_type & 0x7f]);
    data.extend(sequence.to_be_bytes());
    data.extend(packet.timestamp.to_be_bytes());
    data.extend(config.ssrc.to_be_bytes());
    data.extend(after.get(..extra)?);
    data.extend(packet.sequence.to_be_bytes());
    data.extend(packet.payload);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::super::rtx;
    use super::*;
    use proptest::prelude::*;

    const MEDIA: u32 = 0x0a0a_0a0a;
    const RTX: u32 = 0x0b0b_0b0b;
    const MS: Duration = Duration::from_millis(1);

    fn config() -> Config {
        Config {
            ssrc: RTX,
            payload_types: vec![(96, 97)],
            time: 500 * MS,
        }
    }

    fn history() -> History<Vec<u8>> {
        History::new(config(), 7)
    }

    fn packet(sequence: u16, payload: usize) -> Vec<u8> {
        let mut data = vec![0x80, 96];
        data.extend(sequence.to_be_bytes());
        data.extend([0, 0, 0, 9]);
        data.extend(MEDIA.to_be_bytes());
        data.resize(12 + payload, sequence as u8);
        data
    }

    fn unwrapper() -> rtx::Unwrapper {
        rtx::Unwrapper::new(&rtx::Config {
            apt: vec![(97, 96)],
            fid: vec![(MEDIA, RTX)],
        })
    }

    fn fill(history: &mut History<Vec<u8>>, numbers: impl IntoIterator<Item = u16>, now: Instant) {
        for n in numbers {
            history.handle_sent(n, packet(n, 100), now);
        }
    }

    // covers: B-RTX-01
    #[test]
    fn a_retransmission_has_its_own_source_type_and_number() {
        let now = Instant::now();
        let mut history = history();
        let mut original = packet(0xabcd, 3);
        original[1] |= 0x80;
        history.handle_sent(0xabcd, original.clone(), now);
        let data = history.retransmit(0xabcd, Duration::ZERO, now).unwrap();
        let parsed = RtpPacket::parse(&data).unwrap();
        assert!(parsed.marker);
        assert_eq!(
            (
                parsed.payload_type,
                parsed.sequence,
                parsed.ssrc,
                parsed.timestamp
            ),
            (97, 7, RTX, 9)
        );
        assert_eq!(parsed.payload[..2], [0xab, 0xcd]);
        assert_eq!(unwrapper().unwrap(&data, |_| None), Some(original));
        history.handle_sent(0xabce, packet(0xabce, 3), now);
        let next = history.retransmit(0xabce, Duration::ZERO, now).unwrap();
        assert_eq!(RtpPacket::parse(&next).unwrap().sequence, 8);
    }

    // covers: B-RTX-04
    #[test]
    fn packets_are_kept_for_rtx_time() {
        let start = Instant::now();
        let mut history = history();
        fill(&mut history, [1], start);
        fill(&mut history, [2], start + 300 * MS);
        assert!(history.retransmit(1, MS, start + 500 * MS).is_some());
        assert_eq!(history.retransmit(1, MS, start + 501 * MS), None);
        assert!(history.retransmit(2, MS, start + 501 * MS).is_some());
        assert_eq!(history.retransmit(3, MS, start + 501 * MS), None);
        assert_eq!(history.bytes, 112);
    }

    // covers: B-RTX-04
    #[test]
    fn a_packet_is_not_repeated_within_the_round_trip_time() {
        let start = Instant::now();
        let mut history = history();
        fill(&mut history, [1], start);
        let rtt = 80 * MS;
        assert!(history.retransmit(1, rtt, start).is_some());
        assert_eq!(history.retransmit(1, rtt, start + 79 * MS), None);
        assert!(history.retransmit(1, rtt, start + 80 * MS).is_some());
        // Not known: 10 ms.
        assert_eq!(history.retransmit(1, Duration::ZERO, start + 89 * MS), None);
        assert!(
            history
                .retransmit(1, Duration::ZERO, start + 90 * MS)
                .is_some()
        );
    }

    // covers: B-RTX-04
    #[test]
    fn retransmissions_take_a_quarter_of_the_media_at_most() {
        let start = Instant::now();
        let mut history = history();
        let (mut media, mut again) = (0, 0);
        for n in 0..20_000_u16 {
            let now = start + u32::from(n) * MS;
            let data = packet(n, 1188);
            media += data.len();
            history.handle_sent(n, data, now);
            // Everything is asked for, for ever.
            for back in 0..50 {
                let data = history.retransmit(n.wrapping_sub(back), MS, now);
                again += data.map_or(0, |d| d.len());
            }
        }
        assert!(
            again <= BURST + media / 4 + 2 * 20_000,
            "{again} of {media}"
        );
        assert!(again >= media / 5, "{again} of {media}");
    }

    // covers: B-RTX-04, H-40
    #[test]
    fn the_history_is_bounded() {
        let now = Instant::now();
        let mut history = history();
        for n in 0..=u16::MAX {
            history.handle_sent(n, packet(n, 1500), now);
            assert!(history.bytes <= limits::RTX_BYTES);
            assert!(history.kept.len() <= limits::RTX_PACKETS);
        }
        let kept: usize = history.kept.iter().map(|k| k.data.len()).sum();
        assert_eq!(kept, history.bytes);
    }

    // covers: B-RTX-04
    #[test]
    fn numbers_wrap_come_out_of_order_and_start_anew() {
        let now = Instant::now();
        let mut history = history();
        fill(&mut history, [65_533, 65_535, 0, 65_534, 2, 1], now);
        for n in [65_533, 65_534, 65_535, 0, 1, 2] {
            let data = history.retransmit(n, MS, now).unwrap();
            assert_eq!(unwrapper().unwrap(&data, |_| None).unwrap()[12], n as u8);
        }
        assert_eq!(history.retransmit(3, MS, now), None);
        // Another sequence, before and then after all that is kept.
        for first in [40_000_u16, 20_000] {
            fill(&mut history, [first], now);
            assert_eq!(history.kept.len(), 1);
            assert!(history.retransmit(first, MS, now).is_some());
        }
    }

    // covers: B-RTX-01
    #[test]
    fn other_payload_types_are_not_retransmitted() {
        let now = Instant::now();
        let mut history = history();
        let mut other = packet(1, 9);
        other[1] = 100;
        history.handle_sent(1, other, now);
        history.handle_sent(2, vec![1, 2, 3], now);
        assert_eq!(history.retransmit(1, MS, now), None);
        assert_eq!(history.retransmit(2, MS, now), None);
    }

    proptest! {
        // covers: B-RTX-01
        #[test]
        fn what_the_receiver_undoes_is_the_original(
            sequence: u16,
            marker: bool,
            csrc in 0_u8..4,
            extension in proptest::option::of(0_u16..5),
            padding in 0_u8..4,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut header = packet(sequence, 0);
            header[1] |= u8::from(marker) << 7;
            header[0] |= csrc;
            header.extend((0..csrc).flat_map(|i| [i; 4]));
            if let Some(words) = extension {
                header[0] |= 0x10;
                header.extend([0xbe, 0xde]);
                header.extend(words.to_be_bytes());
                header.extend((0..words * 4).map(|b| b as u8));
            }
            let unpadded = [&header[..], &payload].concat();
            let mut original = unpadded.clone();
            if padding > 0 {
                original[0] |= 0x20;
                original.extend((1..padding).map(|_| 0));
                original.push(padding);
            }
            let data = wrap(&config(), &original, 3).unwrap();
            prop_assert_eq!(unwrapper().unwrap(&data, |_| None), Some(unpadded));
        }

        #[test]
        fn no_panic_and_no_leak(
            steps in proptest::collection::vec((any::<u16>(), 0_usize..60, 0_u32..100), 0..200),
        ) {
            let mut history = history();
            let mut now = Instant::now();
            for (n, len, ms) in steps {
                now += ms * MS;
                history.handle_sent(n, packet(n, len), now);
                let _ = history.retransmit(n.wrapping_sub(1), MS, now);
                let kept: usize = history.kept.iter().map(|k| k.data.len()).sum();
                prop_assert_eq!(kept, history.bytes);
                let ordered = history.kept.iter().zip(history.kept.iter().skip(1))
                    .all(|(a, b)| a.ext_seq <= b.ext_seq);
                prop_assert!(ordered);
            }
        }
    }
}
