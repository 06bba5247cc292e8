//! The bytes that the scripted server reads and writes.

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use super::mini::{Media, Script};

/// What comes over a connection.
pub enum Incoming {
    /// An interleaved frame: RTCP.
    Frame { channel: u8, packet: Vec<u8> },
    Request {
        method: String,
        uri: String,
        headers: Vec<(String, String)>,
        body: String,
    },
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
}

pub fn read(reader: &mut impl BufRead) -> io::Result<Incoming> {
    let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut first = [0];
    reader.read_exact(&mut first)?;
    if first == *b"$" {
        let mut header = [0; 3];
        reader.read_exact(&mut header)?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
        reader.read_exact(&mut packet)?;
        let channel = header[0];
        return Ok(Incoming::Frame { channel, packet });
    }
    let mut line = String::from(char::from(first[0]));
    reader.read_line(&mut line)?;
    let start: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(end());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_string(), value.trim().to_string())),
            None => break,
        }
    }
    let length = header(&headers, "Content-Length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    match start.as_slice() {
        [version, status, ..] if version.starts_with("RTSP/") => Ok(Incoming::Response {
            status: status.parse().map_err(|_| end())?,
            headers,
            body,
        }),
        [method, uri, _version] => Ok(Incoming::Request {
            method: method.clone(),
            uri: uri.clone(),
            headers,
            body,
        }),
        _ => Err(end()),
    }
}

pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

pub fn response(status: u16, cseq: &str, more: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let reason = if status == 200 { "OK" } else { "Scripted" };
    format!(
        "RTSP/1.0 {status} {reason}\r\nCSeq: {cseq}\r\nServer: mini\r\n{more}{length}\r\n{body}"
    )
}

pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = format!("{user}:{password}");
    let coded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Basic {coded}")
}

pub const DIGEST_CHALLENGE: &str = "Digest realm=\"mini\", nonce=\"c0ffee\"";

/// Whether the header answers the challenge (RFC 2069 §2.1.2).
pub fn is_digest(header: &str, user: &str, password: &str, method: &str) -> bool {
    let parameter = |name: &str| {
        let (_, rest) = header.split_once(&format!("{name}=\""))?;
        rest.split('"').next()
    };
    let uri = parameter("uri").unwrap_or_default();
    let secret = md5(&format!("{user}:mini:{password}"));
    let asked = md5(&format!("{method}:{uri}"));
    parameter("response") == Some(&md5(&format!("{secret}:c0ffee:{asked}")))
}

fn md5(text: &str) -> String {
    use md5::Digest as _;
    let hash = md5::Md5::digest(text);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn description(script: &Script, started: SystemTime) -> String {
    let (streams, range) = (&script.streams, script.range);
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=mini\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:{range}\r\n"
    );
    for (index, media) in streams.iter().enumerate() {
        sdp += match media {
            Media::H264 => {
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
            }
            Media::H265 => "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n",
            Media::Pcmu => "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
            Media::PcmuAndPcma => "m=audio 0 RTP/AVP 0 8\r\n",
        };
        sdp += &format!("a=control:track{index}\r\n");
        if let Some(clock) = &script.refclk {
            // The RTP time at the epoch of the clock (RFC 7273 §5.2).
            let ticks = u128::from(ntp_nanos(started)) * u128::from(clock_rate(*media));
            let offset = ((ticks / 1_000_000_000) as u32).wrapping_neg();
            sdp += &format!("a=ts-refclk:{clock}\r\na=mediaclk:direct={offset}\r\n");
        }
    }
    sdp
}

pub fn clock_rate(media: Media) -> u32 {
    match media {
        Media::H264 | Media::H265 => 90_000,
        Media::Pcmu | Media::PcmuAndPcma => 8_000,
    }
}

/// From RTP time 0 to this one.
pub fn media_span(rtp: u32, media: Media) -> Duration {
    Duration::from_micros(u64::from(rtp) * 1_000_000 / u64::from(clock_rate(media)))
}

/// Nanoseconds since 1900.
pub fn ntp_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_nanos() as u64 + 2_208_988_800_000_000_000
}

/// NTP's seconds and fraction.
pub fn ntp_timestamp(time: SystemTime) -> u64 {
    let nanos = u128::from(ntp_nanos(time));
    ((nanos << 32) / 1_000_000_000) as u64
}

/// A sender report and the source's name (RFC 3550 §6.4.1, §6.5).
pub fn sender_report(ssrc: u32, ntp: SystemTime, rtp: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(ntp_timestamp(ntp).to_be_bytes());
    packet.extend(rtp.to_be_bytes());
    packet.extend([0; 8]);
    packet.extend([0x81, 202, 0, 3]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(*b"\x01\x04mini\0\0");
    packet
}

/// ONVIF's header extension with the time of the capture (ONVIF Streaming §6.3).
pub fn add_onvif_time(packet: &mut Vec<u8>, ntp: SystemTime) {
    packet[0] |= 0x10;
    let mut extension = vec![0xab, 0xac, 0, 3];
    extension.extend(ntp_timestamp(ntp).to_be_bytes());
    extension.extend([0; 4]);
    packet.splice(12..12, extension);
}

/// The packets of one frame.
pub fn packets(media: Media, seq: u16, time: u32, ssrc: u32, frame: u64) -> Vec<Vec<u8>> {
    let count = match media {
        Media::H264 | Media::H265 => 3u16,
        Media::Pcmu | Media::PcmuAndPcma => 1,
    };
    (0..count)
        .map(|i| {
            let last = i + 1 == count;
            let payload_type = match media {
                Media::H264 | Media::H265 => 96,
                Media::PcmuAndPcma if frame % 100 >= 90 => 8,
                Media::Pcmu | Media::PcmuAndPcma => 0,
            };
            let mut packet = vec![0x80, u8::from(last) << 7 | payload_type];
            packet.extend(seq.wrapping_add(i).to_be_bytes());
            packet.extend(time.to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            match media {
                // A slice of a key frame, or of another one (RFC 6184 §5.6).
                Media::H264 => packet.push(if frame.is_multiple_of(10) { 0x65 } else { 0x41 }),
                // RFC 7798 §1.1.4.
                Media::H265 if frame.is_multiple_of(10) => packet.extend([19 << 1, 1]),
                Media::H265 => packet.extend([1 << 1, 1]),
                Media::Pcmu | Media::PcmuAndPcma => {}
            }
            packet.extend([0xff; 79]);
            packet
        })
        .collect()
}

/// An empty receiver report and a BYE (RFC 3550 §6.6).
pub fn bye(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 203, 0, 1]);
    packet.extend(ssrc.to_be_bytes());
    packet
}

pub fn frame(channel: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'$', channel];
    frame.extend((packet.len() as u16).to_be_bytes());
    frame.extend(packet);
    frame
}

/// An even port and the next one.
pub fn udp_pair(ip: Ipv4Addr) -> (UdpSocket, UdpSocket) {
    for _ in 0..100 {
        let rtp = UdpSocket::bind((ip, 0)).expect("a UDP socket");
        let port = rtp.local_addr().expect("an address").port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1))
        {
            for socket in [&rtp, &rtcp] {
                socket.set_nonblocking(true).expect("a socket");
            }
            return (rtp, rtcp);
        }
    }
    panic!("no pair of UDP ports is free");
}
