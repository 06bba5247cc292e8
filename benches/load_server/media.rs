//! What is sent when: the program that all sessions share, and the state of one stream of a session.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gstrtsp2::rtp::srtp::{Keys, MasterKey, Outbound, Suite};
use gstrtsp2::rtsp::mikey;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

use super::Config;
use super::h264::{self, AccessUnit};

const KEY_INTERVAL: u32 = 2;
const AUDIO_RATE: u32 = 50;
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
const SEND_BATCH: usize = 64;
const VIDEO_TYPE: u8 = 96;
const AUDIO_TYPE: u8 = 0;

/// One stream of the presentation: its units and their rate.
pub struct Track {
    key: AccessUnit,
    other: AccessUnit,
    /// Units from one key unit to the next.
    key_every: u64,
    units_per_second: u32,
    clock_rate: u32,
}

impl Track {
    fn unit(&self, index: u64) -> &AccessUnit {
        if index.is_multiple_of(self.key_every) {
            &self.key
        } else {
            &self.other
        }
    }

    /// When the unit is due, from the start of the stream.
    pub fn due(&self, index: u64) -> Duration {
        Duration::from_nanos(index * 1_000_000_000 / u64::from(self.units_per_second))
    }

    fn rtp_time(&self, index: u64) -> u32 {
        (index * u64::from(self.clock_rate) / u64::from(self.units_per_second)) as u32
    }
}

/// The presentation.
pub struct Program {
    pub tracks: Vec<Track>,
    pub sdp: String,
    pub keys: Option<Keys>,
}

impl Program {
    pub fn new(config: &Config) -> Self {
        let group = u64::from(config.fps * KEY_INTERVAL);
        let ratio = u64::from(config.key_ratio.max(1));
        let bytes_per_group = config.bitrate / 8 * u64::from(KEY_INTERVAL);
        let other = (bytes_per_group / (group - 1 + ratio)) as usize;
        let mut tracks = vec![Track {
            key: AccessUnit::key(VIDEO_TYPE, other * config.key_ratio.max(1) as usize),
            other: AccessUnit::predicted(VIDEO_TYPE, other),
            key_every: group,
            units_per_second: config.fps,
            clock_rate: 90_000,
        }];
        let (sps, pps) = parameter_sets_base64();
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=load\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n\
             m=video 0 RTP/AVP {VIDEO_TYPE}\r\na=rtpmap:{VIDEO_TYPE} H264/90000\r\n\
             a=fmtp:{VIDEO_TYPE} packetization-mode=1;profile-level-id=42c033;sprop-parameter-sets={sps},{pps}\r\n\
             a=control:stream=0\r\n"
        );
        if config.audio {
            tracks.push(Track {
                key: AccessUnit::packet(AUDIO_TYPE, &[0xff; 160]),
                other: AccessUnit::packet(AUDIO_TYPE, &[0xff; 160]),
                key_every: u64::MAX,
                units_per_second: AUDIO_RATE,
                clock_rate: 8_000,
            });
            sdp += "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:stream=1\r\n";
        }
        let keys = config.secured.then(keys);
        if let Some(keys) = &keys {
            let fresh = mikey::Fresh {
                bundle: 1,
                rand: [1; 16],
                ntp: 0,
            };
            let line = base64(&mikey::write(keys, &fresh));
            sdp = sdp.replace("RTP/AVP", "RTP/SAVP").replace(
                "a=control:stream",
                &format!("a=key-mgmt:mikey {line}\r\na=control:stream"),
            );
        }
        Self { tracks, sdp, keys }
    }
}

fn keys() -> Keys {
    let suite = Suite::AesCm128Sha1_80;
    let master = MasterKey::new(suite, &[7; 30]).expect("of the suite's lengths");
    Keys::new(suite, master)
}

/// The SPS and the PPS of the video, as `sprop-parameter-sets` has them (RFC 6184 §8.1).
pub fn parameter_sets_base64() -> (String, String) {
    let (sps, pps) = h264::parameter_sets();
    (base64(&sps), base64(&pps))
}

/// Where a stream goes.
pub enum Path {
    Interleaved { channel: u8 },
    Udp { rtp: UdpSocket, rtcp: UdpSocket },
}

/// One stream of one session.
pub struct Stream {
    pub program: Arc<Program>,
    pub track: usize,
    pub path: Path,
    pub ssrc: u32,
    seq: u16,
    index: u64,
    sent: (u32, u32),
    next_report: Duration,
    srtp: Option<Outbound>,
}

/// What one burst put on the wire.
pub struct Burst {
    pub packets: u64,
    pub bytes: u64,
}

impl Stream {
    pub fn new(program: Arc<Program>, track: usize, path: Path, ssrc: u32) -> Self {
        let next_report = Duration::from_millis(500);
        let srtp = program.keys.clone().and_then(Outbound::new);
        Self {
            program,
            track,
            path,
            ssrc,
            seq: 0,
            index: 0,
            sent: (0, 0),
            next_report,
            srtp,
        }
    }

    fn track(&self) -> &Track {
        &self.program.tracks[self.track]
    }

    pub fn due(&self) -> Duration {
        self.track().due(self.index)
    }

    /// Leaves out the unit that is due.
    pub fn skip(&mut self) {
        self.index += 1;
    }

    /// Sends the unit that is due over UDP, or appends it to `wire` for TCP.
    pub fn burst(&mut self, wire: &mut Vec<u8>) -> std::io::Result<Burst> {
        let program = self.program.clone();
        let track = &program.tracks[self.track];
        let unit = track.unit(self.index);
        let time = track.rtp_time(self.index).to_be_bytes();
        let from = wire.len();
        wire.extend_from_slice(&unit.bytes);
        let burst = &mut wire[from..];
        for slot in &unit.slots {
            if let Path::Interleaved { channel } = self.path {
                burst[slot.start - 3] = channel;
            }
            let header = &mut burst[slot.start..slot.start + 12];
            header[2..4].copy_from_slice(&self.seq.to_be_bytes());
            header[4..8].copy_from_slice(&time);
            header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
            self.seq = self.seq.wrapping_add(1);
        }
        let bytes = unit.media_bytes();
        if let Some(srtp) = &mut self.srtp {
            let clear = wire.split_off(from);
            for slot in &unit.slots {
                let mut packet = clear[slot.start..slot.end].to_vec();
                srtp.rtp(&mut packet)
                    .map_err(|e| std::io::Error::other(format!("{e:?}")))?;
                match &self.path {
                    Path::Interleaved { channel } => {
                        wire.extend_from_slice(&[b'$', *channel]);
                        wire.extend_from_slice(&(packet.len() as u16).to_be_bytes());
                        wire.extend_from_slice(&packet);
                    }
                    Path::Udp { rtp, .. } => send_all(rtp, &[&packet])?,
                }
            }
        } else if let Path::Udp { rtp, .. } = &self.path {
            let packets: Vec<_> = unit
                .slots
                .iter()
                .map(|s| &wire[from + s.start..from + s.end])
                .collect();
            send_all(rtp, &packets)?;
            wire.truncate(from);
        }
        self.sent.0 = self.sent.0.wrapping_add(unit.slots.len() as u32);
        self.sent.1 = self.sent.1.wrapping_add(bytes as u32);
        let due = self.due();
        if due >= self.next_report {
            self.next_report = due + REPORT_INTERVAL;
            self.report(wire)?;
        }
        self.index += 1;
        Ok(Burst {
            packets: unit.slots.len() as u64,
            bytes: bytes as u64,
        })
    }

    /// A sender report with a CNAME (RFC 3550 §6.4.1), for the unit that was just sent.
    fn report(&mut self, wire: &mut Vec<u8>) -> std::io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seconds = (now.as_secs() + 2_208_988_800) as u32;
        let fraction = ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        let mut report = vec![0x80, 200, 0, 6];
        let rtp_time = self.track().rtp_time(self.index);
        for word in [
            self.ssrc,
            seconds,
            fraction,
            rtp_time,
            self.sent.0,
            self.sent.1,
        ] {
            report.extend_from_slice(&word.to_be_bytes());
        }
        report.extend_from_slice(&[0x81, 202, 0, 3]);
        report.extend_from_slice(&self.ssrc.to_be_bytes());
        report.extend_from_slice(&[1, 4, b'l', b'o', b'a', b'd', 0, 0]);
        if let Some(srtp) = &mut self.srtp {
            srtp.rtcp(&mut report)
                .map_err(|e| std::io::Error::other(format!("{e:?}")))?;
        }
        match &self.path {
            Path::Interleaved { channel } => {
                wire.extend_from_slice(&[b'$', channel + 1]);
                wire.extend_from_slice(&(report.len() as u16).to_be_bytes());
                wire.extend_from_slice(&report);
            }
            Path::Udp { rtcp, .. } => send_all(rtcp, &[&report])?,
        }
        Ok(())
    }
}

/// A receiver that has gone is not an error of a datagram; all else is.
fn send_all(socket: &UdpSocket, packets: &[&[u8]]) -> std::io::Result<()> {
    for batch in packets.chunks(SEND_BATCH) {
        let slices: Vec<_> = batch.iter().map(|p| [std::io::IoSlice::new(p)]).collect();
        let addresses: Vec<Option<()>> = vec![None; batch.len()];
        let mut done = 0;
        while done < slices.len() {
            let rest = &slices[done..];
            let mut headers = MultiHeaders::<()>::preallocate(rest.len(), None);
            let flags = MsgFlags::empty();
            let fd = socket.as_raw_fd();
            match sendmmsg(fd, &mut headers, rest, &addresses[done..], [], flags) {
                Ok(sent) => done += sent.count().max(1),
                Err(nix::errno::Errno::ECONNREFUSED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|c| {
            let word = (0..3).fold(0u32, |w, i| {
                w << 8 | u32::from(c.get(i).copied().unwrap_or(0))
            });
            let digit = |i: u32| char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]);
            let pad = move |n: usize, d: char| if c.len() > n { d } else { '=' };
            [digit(0), digit(1), pad(1, digit(2)), pad(2, digit(3))]
        })
        .collect()
}
