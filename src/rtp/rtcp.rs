//! RTCP packets: a tolerant reader and writers (RFC 3550 §6, RFC 4585 §6).
//!
//! Devices send compounds with wrong padding, an SDES without its end, or
//! cut off; their leading valid part is used. What the reader overlooked it
//! reports as a [`Flaw`].

use rtcp_types::prelude::*;

use super::feedback::Feedback;
use crate::rtsp::limits;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// The item that names a source for good (RFC 3550 §6.5.1).
pub const SDES_CNAME: u8 = 1;
/// The count field has 5 bits.
const MAX_BLOCKS: usize = 31;

/// Whether a datagram of a port that carries both is RTCP (RFC 5761 §4).
pub fn is_rtcp(data: &[u8]) -> bool {
    matches!(data, [first, 192..=223, _, _, ..] if first >> 6 == 2)
}

/// What one packet of a compound says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rtcp<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        blocks: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: ReportBlocks<'a>,
    },
    /// Canonical name of a source; other SDES items are skipped.
    Cname {
        ssrc: u32,
        cname: &'a [u8],
    },
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    Nack {
        ssrc: u32,
        media_ssrc: u32,
        seqs: NackSeqs<'a>,
    },
    Pli {
        ssrc: u32,
        media_ssrc: u32,
    },
    Fir {
        ssrc: u32,
        entries: FirEntries<'a>,
    },
    /// A packet of another type, skipped by its length.
    Other {
        packet_type: u8,
    },
}

/// Sender info of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderInfo {
    pub ntp: u64,
    pub rtp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// Report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    /// 24 bits, signed: duplicates make it negative.
    pub cumulative_lost: i32,
    pub highest_seq: u32,
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR, 0 for none.
    pub last_sr: u32,
    /// Since that SR came, in units of 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn read(b: &[u8; 24]) -> Self {
        let word = |n: [u8; 4]| u32::from_be_bytes(n);
        Self {
            ssrc: word([b[0], b[1], b[2], b[3]]),
            fraction_lost: b[4],
            // The shift back extends the sign.
            cumulative_lost: i32::from_be_bytes([b[5], b[6], b[7], 0]) >> 8,
            highest_seq: word([b[8], b[9], b[10], b[11]]),
            jitter: word([b[12], b[13], b[14], b[15]]),
            last_sr: word([b[16], b[17], b[18], b[19]]),
            delay_since_last_sr: word([b[20], b[21], b[22], b[23]]),
        }
    }

    fn writer(&self) -> rtcp_types::ReportBlockBuilder {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        rtcp_types::ReportBlock::builder(self.ssrc)
            .fraction_lost(self.fraction_lost)
            .cumulative_lost(lost as u32 & 0xff_ffff)
            .extended_sequence_number(self.highest_seq)
            .interarrival_jitter(self.jitter)
            .last_sender_report_timestamp(self.last_sr)
            .delay_since_last_sender_report_timestamp(self.delay_since_last_sr)
    }
}

/// Report blocks of an SR or RR, at most 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlocks<'a>(&'a [[u8; 24]]);

impl<'a> ReportBlocks<'a> {
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.0.iter().map(ReportBlock::read)
    }
}

/// Sources that leave, at most 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssrcs<'a>(&'a [[u8; 4]]);

impl<'a> Ssrcs<'a> {
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.iter().map(|s| u32::from_be_bytes(*s))
    }
}

/// Sequence numbers of a generic NACK: PID and bitmask pairs (RFC 4585 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackSeqs<'a>(&'a [[u8; 4]]);

impl<'a> NackSeqs<'a> {
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.iter().flat_map(|&[p0, p1, b0, b1]| {
            let pid = u16::from_be_bytes([p0, p1]);
            let blp = u16::from_be_bytes([b0, b1]);
            let followers = (0..16u16)
                .filter(move |bit| (blp >> bit) & 1 == 1)
                .map(move |bit| pid.wrapping_add(bit).wrapping_add(1));
            std::iter::once(pid).chain(followers)
        })
    }
}

/// Media sources of a FIR with their command sequence numbers (RFC 5104 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntries<'a>(&'a [[u8; 8]]);

impl<'a> FirEntries<'a> {
    pub fn iter(&self) -> impl Iterator<Item = (u32, u8)> + use<'a> {
        self.0
            .iter()
            .map(|e| (u32::from_be_bytes([e[0], e[1], e[2], e[3]]), e[4]))
    }
}

/// Something that a strict reader would have refused (RFC 3550 §A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Not version 2: the rest is not read.
    Version,
    /// A part is longer than what is left, or bytes are left over.
    Length,
    /// Padding before the last part, or an impossible padding count.
    Padding,
    /// Reduced size (RFC 5506), or the SR or RR that must come first is missing.
    FirstType,
    /// An SDES without its end, or an item longer than its packet.
    Sdes,
    /// A part is too short for its type or count; that part is ignored.
    Truncated,
    /// More parts than any sender makes: the rest is not read.
    TooMany,
}

/// Reads the packets of one compound.
pub fn parse(data: &[u8]) -> Compound<'_> {
    Compound {
        rest: data,
        sdes: Chunks::default(),
        count: 0,
        flaw: None,
    }
}

/// Iterator over the packets of a compound; see [`parse`].
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
    sdes: Chunks<'a>,
    count: usize,
    flaw: Option<Flaw>,
}

impl<'a> Iterator for Compound<'a> {
    type Item = Rtcp<'a>;

    fn next(&mut self) -> Option<Rtcp<'a>> {
        loop {
            if let Some((ssrc, cname)) = self.sdes.next() {
                return Some(Rtcp::Cname { ssrc, cname });
            }
            if std::mem::take(&mut self.sdes.flawed) {
                self.note(Flaw::Sdes);
            }
            let (head, body) = self.take_packet()?;
            if head.packet_type == SOURCE_DESCRIPTION {
                self.sdes = Chunks {
                    rest: body,
                    left: head.count,
                    flawed: false,
                };
                continue;
            }
            match read(head, body) {
                Some(rtcp) => return Some(rtcp),
                None => self.note(Flaw::Truncated),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Head {
    count: u8,
    packet_type: u8,
}

impl<'a> Compound<'a> {
    /// The first flaw in what has been read so far.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// Stops reading.
    fn stop<T>(&mut self, flaw: Flaw) -> Option<T> {
        self.note(flaw);
        self.rest = &[];
        None
    }

    fn take_packet(&mut self) -> Option<(Head, &'a [u8])> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((&[flags, packet_type, len0, len1], _)) = self.rest.split_first_chunk() else {
            return self.stop(Flaw::Length);
        };
        if flags >> 6 != 2 {
            return self.stop(Flaw::Version);
        }
        if self.count == limits::RTCP_PACKETS {
            return self.stop(Flaw::TooMany);
        }
        if self.count == 0 && !matches!(packet_type, SENDER_REPORT | RECEIVER_REPORT) {
            self.note(Flaw::FirstType);
        }
        self.count = self.count.saturating_add(1);
        let words = usize::from(u16::from_be_bytes([len0, len1])).saturating_add(1);
        let (packet, rest) = match self.rest.split_at_checked(words.saturating_mul(4)) {
            Some(split) => split,
            // Seen where the end byte of the SDES is missing, and harmless.
            None if packet_type == SOURCE_DESCRIPTION => {
                self.note(Flaw::Length);
                (self.rest, [].as_slice())
            }
            None => return self.stop(Flaw::Length),
        };
        self.rest = rest;
        let mut body = packet.get(4..).unwrap_or_default();
        if flags & 0x20 != 0 {
            if !rest.is_empty() {
                self.note(Flaw::Padding);
            }
            let pad = usize::from(body.last().copied().unwrap_or(0));
            match body.len().checked_sub(pad).and_then(|len| body.get(..len)) {
                Some(unpadded) if pad != 0 && pad % 4 == 0 => body = unpadded,
                // All packets that matter here say themselves how long they are.
                _ => self.note(Flaw::Padding),
            }
        }
        Some((
            Head {
                count: flags & 0x1f,
                packet_type,
            },
            body,
        ))
    }
}

fn take_u32<'a>(data: &mut &'a [u8]) -> Option<u32> {
    let (word, rest): (&'a [u8; 4], _) = data.split_first_chunk()?;
    *data = rest;
    Some(u32::from_be_bytes(*word))
}

/// Reads the body of a packet other than SDES; `None` if it is too short.
fn read<'a>(head: Head, mut body: &'a [u8]) -> Option<Rtcp<'a>> {
    let count = usize::from(head.count);
    let rtcp = match (head.packet_type, head.count) {
        (SENDER_REPORT, _) => {
            let ssrc = take_u32(&mut body)?;
            let ntp = u64::from(take_u32(&mut body)?) << 32 | u64::from(take_u32(&mut body)?);
            let info = SenderInfo {
                ntp,
                rtp: take_u32(&mut body)?,
                packets: take_u32(&mut body)?,
                octets: take_u32(&mut body)?,
            };
            let blocks = ReportBlocks(body.as_chunks().0.get(..count)?);
            Rtcp::SenderReport { ssrc, info, blocks }
        }
        (RECEIVER_REPORT, _) => {
            let ssrc = take_u32(&mut body)?;
            let blocks = ReportBlocks(body.as_chunks().0.get(..count)?);
            Rtcp::ReceiverReport { ssrc, blocks }
        }
        (GOODBYE, _) => Rtcp::Bye {
            ssrcs: Ssrcs(body.as_chunks().0.get(..count)?),
        },
        (TRANSPORT_FEEDBACK, 1) => {
            let (ssrc, media_ssrc) = (take_u32(&mut body)?, take_u32(&mut body)?);
            Rtcp::Nack {
                ssrc,
                media_ssrc,
                seqs: NackSeqs(body.as_chunks().0),
            }
        }
        (PAYLOAD_FEEDBACK, 1) => {
            let (ssrc, media_ssrc) = (take_u32(&mut body)?, take_u32(&mut body)?);
            Rtcp::Pli { ssrc, media_ssrc }
        }
        (PAYLOAD_FEEDBACK, 4) => {
            let (ssrc, _unused) = (take_u32(&mut body)?, take_u32(&mut body)?);
            Rtcp::Fir {
                ssrc,
                entries: FirEntries(body.as_chunks().0),
            }
        }
        (packet_type, _) => Rtcp::Other { packet_type },
    };
    Some(rtcp)
}

/// The chunks of an SDES packet that name a CNAME (RFC 3550 §6.5).
#[derive(Debug, Clone, Default)]
struct Chunks<'a> {
    rest: &'a [u8],
    left: u8,
    flawed: bool,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let Some((ssrc, cname)) = self.chunk() else {
                self.left = 0;
                self.flawed = true;
                return None;
            };
            if let Some(cname) = cname.filter(|c| !c.is_empty()) {
                return Some((ssrc, cname));
            }
        }
        None
    }
}

impl<'a> Chunks<'a> {
    fn chunk(&mut self) -> Option<(u32, Option<&'a [u8]>)> {
        let ssrc = take_u32(&mut self.rest)?;
        let start = self.rest.len();
        let mut cname = None;
        loop {
            match self.rest {
                [0, rest @ ..] => {
                    // Null octets up to the next 32-bit boundary end the list.
                    let used = start.saturating_sub(rest.len());
                    let pad = used.wrapping_neg() % 4;
                    self.rest = rest.get(pad..).unwrap_or_default();
                    return Some((ssrc, cname));
                }
                [kind, len, rest @ ..] => {
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else {
                        return self.cut_short(ssrc, cname);
                    };
                    if *kind == SDES_CNAME {
                        cname.get_or_insert(value);
                    }
                    self.rest = rest;
                }
                _ => return self.cut_short(ssrc, cname),
            }
        }
    }

    /// The packet ends within a chunk: what is complete counts.
    fn cut_short(&mut self, ssrc: u32, cname: Option<&'a [u8]>) -> Option<(u32, Option<&'a [u8]>)> {
        (self.rest, self.left, self.flawed) = (&[], 0, true);
        Some((ssrc, cname))
    }
}

/// A compound that is to be sent (RFC 3550 §6.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct Report<'a> {
    /// Our own source.
    pub ssrc: u32,
    /// Makes it a sender report.
    pub sender: Option<SenderInfo>,
    /// The first 31 are sent.
    pub blocks: &'a [ReportBlock],
    pub cname: &'a str,
    /// Other SDES items by their type; a CNAME among them is left out.
    pub sdes: &'a [(u8, String)],
    /// Source that the feedback is about.
    pub media_ssrc: u32,
    pub feedback: &'a [Feedback],
    pub bye: bool,
}

impl Report<'_> {
    /// SR or RR first, SDES with CNAME, feedback, BYE last.
    ///
    /// Empty only if the CNAME is longer than 255 bytes.
    pub fn write(&self) -> Vec<u8> {
        let blocks = self.blocks.iter().take(MAX_BLOCKS).map(ReportBlock::writer);
        let mut compound = rtcp_types::Compound::builder();
        compound = match self.sender {
            Some(info) => {
                let report = rtcp_types::SenderReport::builder(self.ssrc)
                    .ntp_timestamp(info.ntp)
                    .rtp_timestamp(info.rtp)
                    .packet_count(info.packets)
                    .octet_count(info.octets);
                compound.add_packet(blocks.fold(report, |report, b| report.add_report_block(b)))
            }
            None => {
                let report = rtcp_types::ReceiverReport::builder(self.ssrc);
                compound.add_packet(blocks.fold(report, |report, b| report.add_report_block(b)))
            }
        };
        let cname = rtcp_types::SdesItem::builder(SDES_CNAME, self.cname);
        let chunk = rtcp_types::SdesChunk::builder(self.ssrc).add_item(cname);
        let more = self.sdes.iter().filter(|(kind, _)| *kind != SDES_CNAME);
        let chunk = more.fold(chunk, |chunk, (kind, value)| {
            chunk.add_item(rtcp_types::SdesItem::builder(*kind, value))
        });
        compound = compound.add_packet(rtcp_types::Sdes::builder().add_chunk(chunk));
        compound = add_feedback(compound, self.ssrc, self.media_ssrc, self.feedback);
        if self.bye {
            compound = compound.add_packet(rtcp_types::Bye::builder().add_source(self.ssrc));
        }
        finish(compound)
    }

    /// The feedback alone: reduced size (RFC 5506 §4.1).
    pub fn write_reduced(&self) -> Vec<u8> {
        let compound = rtcp_types::Compound::builder();
        finish(add_feedback(
            compound,
            self.ssrc,
            self.media_ssrc,
            self.feedback,
        ))
    }
}

fn add_feedback<'a>(
    compound: rtcp_types::CompoundBuilder<'a>,
    ssrc: u32,
    media_ssrc: u32,
    feedback: &[Feedback],
) -> rtcp_types::CompoundBuilder<'a> {
    use rtcp_types::{Fir, Nack, PayloadFeedback, Pli, TransportFeedback};
    feedback
        .iter()
        .fold(compound, |compound, feedback| match feedback {
            Feedback::Pli => compound.add_packet(
                PayloadFeedback::builder_owned(Pli::builder())
                    .sender_ssrc(ssrc)
                    .media_ssrc(media_ssrc),
            ),
            // The media source of the header is not used (RFC 5104 §4.3.1.2).
            Feedback::Fir { seq } => compound.add_packet(
                PayloadFeedback::builder_owned(Fir::builder().add_ssrc(media_ssrc, *seq))
                    .sender_ssrc(ssrc)
                    .media_ssrc(0),
            ),
            Feedback::Nack(seqs) => {
                let nack = seqs
                    .iter()
                    .fold(Nack::builder(), |nack, seq| nack.add_rtp_sequence(*seq));
                compound.add_packet(
                    TransportFeedback::builder_owned(nack)
                        .sender_ssrc(ssrc)
                        .media_ssrc(media_ssrc),
                )
            }
        })
}

fn finish(compound: rtcp_types::CompoundBuilder<'_>) -> Vec<u8> {
    let mut data = vec![0; compound.calculate_size().unwrap_or(0)];
    match compound.write_into(&mut data) {
        Ok(len) => data.truncate(len),
        Err(_) => data.clear(),
    }
    data
}

#[cfg(test)]
#[path = "rtcp_tests.rs"]
mod tests;
