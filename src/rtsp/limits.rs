//! Every bound that input from the network meets, in one place.
//!
//! A value *at* the limit is accepted, one past it is refused; the tests of
//! the module that applies a limit check both sides.

use std::time::Duration;

/// Request line or status line, in bytes.
pub const START_LINE: usize = 8 * 1024;
/// One header line (all its folded parts together), in bytes.
pub const HEADER_LINE: usize = 16 * 1024;
/// A value that is used as a URL, in bytes.
pub const URL: usize = 4 * 1024;
/// All header lines of a message together, in bytes.
pub const HEADER_BLOCK: usize = 64 * 1024;
/// Header lines of a message.
pub const HEADER_LINES: usize = 256;
/// Body of a message (the largest is an SDP), in bytes.
pub const BODY: usize = 1024 * 1024;
/// Blank lines before a start line.
pub const BLANK_LINES: usize = 64;
/// Bytes skipped in search of the next message or frame after damage.
pub const RESYNC: usize = 64 * 1024;

/// `m=` sections of a session description.
pub const SDP_MEDIA: usize = 64;
/// Attributes of a section of a session description.
pub const SDP_ATTRIBUTES: usize = 1024;
/// Formats (payload types) of an `m=` section.
pub const SDP_FORMATS: usize = 128;

/// Realm, nonce or opaque of a challenge, in bytes.
pub const AUTH_VALUE: usize = 4 * 1024;
/// A session identifier, in bytes.
pub const SESSION_ID: usize = 256;

/// Wait for a response, and again after each 100 (RFC 7826 §10.4).
pub const RESPONSE_WAIT: Duration = Duration::from_secs(10);
/// Hard cap of the wait for one response, however many 1xx come.
pub const RESPONSE_CAP: Duration = Duration::from_secs(60);
/// A message that has begun must be complete after this.
pub const MESSAGE_COMPLETION: Duration = Duration::from_secs(10);
/// 1xx responses to one request.
pub const PROVISIONAL: u32 = 20;
/// Redirects of one start.
pub const REDIRECTS: usize = 5;
/// Repetitions of one request with other credentials or nonce.
pub const AUTH_RETRIES: u32 = 2;
/// Repetitions with other credentials or nonce in a minute of a session.
pub const AUTH_RETRIES_PER_MINUTE: u32 = 10;
/// Unanswered requests at any time.
pub const OUTSTANDING: usize = 10;
/// Session timeout that is assumed when the server names none (RFC 2326 §12.37).
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest session timeout that is believed.
pub const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest interval between keep-alives.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(30);
/// Shortest interval between keep-alives.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);
/// Requests of the server that may wait for their answer.
pub const SERVER_REQUESTS_QUEUED: usize = 10;
/// Requests of the server in one second.
pub const SERVER_REQUESTS_PER_SECOND: u32 = 50;
/// What a packet that is kept costs beside its bytes: its places in a queue and an allocation.
pub const PACKET_COST: usize = 128;
/// Media kept before the reply to PLAY, in bytes.
pub const EARLY_MEDIA: usize = 1024 * 1024;
/// Bytes that one stream's delivery queue may pin (design: a second of a very fast stream).
pub const QUEUE: usize = 16 * 1024 * 1024;
/// The same while a sibling has nothing queued: a muxer may be waiting for it.
pub const QUEUE_WAITING: usize = 64 * 1024 * 1024;
/// Bytes below which a short queue is not looked at.
pub const QUEUE_FREE: usize = 256 * 1024;
/// Items of one stream's delivery queue.
pub const QUEUE_ITEMS: usize = 65_536;
/// Media properties, and scales among them, that are read (RFC 7826 §18.29 has nine).
pub const MEDIA_PROPERTIES: usize = 32;
/// Parameters that an application may ask for before the first is answered.
pub const PARAMETERS: usize = 64;
/// Commands to a session that it has not taken yet.
pub const COMMANDS: usize = 64;

/// Alternatives of a Transport header that are looked at.
pub const TRANSPORT_ALTERNATIVES: usize = 32;
/// Entries of an RTP-Info header: four for each possible stream.
pub const RTP_INFO_ENTRIES: usize = 4 * SDP_MEDIA;
/// Warnings kept about one session description, so that it cannot flood the log.
pub const SDP_WARNINGS: usize = 32;
/// Format parameters of one payload type; real codecs have under 20.
pub const SDP_FORMAT_PARAMETERS: usize = 128;
/// Sources of one source filter; a real filter names a few.
pub const SDP_FILTER_SOURCES: usize = 32;
/// Attributes of a description copied into caps.
pub const CAPS_ATTRIBUTES: usize = 128;
/// Longest name of a field copied into caps, in bytes.
pub const CAPS_FIELD_NAME: usize = 64;
/// RTCP packets read from one compound (a datagram of 4-byte packets would hold 16,384).
pub const RTCP_PACKETS: usize = 128;
/// Participants of an RTP session that are counted for the report interval.
pub const RTCP_MEMBERS: usize = 1024;
/// Missing packets that retransmission keeps track of, and the widest gap that it asks for.
pub const NACK_MISSING: usize = 1024;
/// Retransmission sources associated with an original source.
pub const RTX_SOURCES: usize = 32;
/// Characters of a server's reason phrase that an error shows.
pub const REASON_SHOWN: usize = 128;
/// Longest `Retry-After` that is obeyed (RFC 7826 §10.7 ends its back-off there).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 60);
/// A REDIRECT of the server for later than this is obeyed then.
pub const REDIRECT_DELAY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest wait for the answer to the TEARDOWN of an earlier session.
pub const CLEANUP_WAIT: Duration = Duration::from_secs(2);
/// A method token at the beginning of a request, in bytes; what is longer is damage.
pub const METHOD: usize = 64;

/// Bytes that the reorder buffer of a stream holds.
pub const REORDER_BYTES: usize = 64 * 1024 * 1024;
/// Sequence numbers that the reorder buffer of a stream spans (64 MiB of small packets; its places cost memory too).
pub const REORDER_SPAN: usize = 128 * 1024;
/// Sources (SSRC) of a stream that are told apart, the active one included.
pub const SOURCES: usize = 32;
/// Bytes of packets of sources that are not (yet) the active one: 1 s of 32 Mbit/s, which is how long one waits at most.
pub const SOURCE_HELD_BYTES: usize = 4 * 1024 * 1024;
/// Names that the DNS cache and its queue hold (names come from URLs and redirects).
pub const DNS_NAMES: usize = 1024;
/// Addresses of one name that are tried.
pub const DNS_ADDRESSES: usize = 16;
/// Batches of datagrams read in one wake-up before other sockets get their turn.
pub const UDP_BATCHES: usize = 4;
/// Bytes that wait to be written on one connection.
pub const OUTBOX: usize = 64 * 1024;
/// A connection that takes no byte for so long is lost.
pub const OUTBOX_STALL: Duration = Duration::from_secs(10);
/// Punching packets sent while no media has arrived.
pub const PUNCHES_UNANSWERED: u32 = 20;
/// Bytes of packets that wait to be sent of one stream: a second of 128 Mbit/s.
pub const SEND_QUEUE: usize = 16 * 1024 * 1024;
/// Bytes of sent packets of a stream that are kept for retransmission: half a second of 128 Mbit/s.
pub const RTX_BYTES: usize = 8 * 1024 * 1024;
/// The same, in packets: less than half of all sequence numbers, so that each is told from its namesakes.
pub const RTX_PACKETS: usize = 16_384;
/// Readers whose last full intra request is remembered.
pub const FIR_SOURCES: usize = 32;
/// Bytes of media of a stream that come between the PLAY of a seek and its answer: as much as its queue holds.
pub const SEEK_MEDIA: usize = QUEUE;
/// Bytes of a stream that wait for a downstream that sets the pace: then the connection is not read on.
pub const PACED_QUEUE: usize = 1024 * 1024;
/// Seeks that wait for the server's answer; those before are answered by the last one.
pub const SEEKS: usize = 64;
/// The head of an HTTP response of a tunnel, WebSocket or proxy, in bytes; real ones have a few hundred.
pub const HTTP_HEAD: usize = 16 * 1024;
/// Header fields of such a head.
pub const HTTP_FIELDS: usize = 64;
/// POSTs of a tunnel that are opened in a minute because the server has ended the last.
pub const POSTS_PER_MINUTE: u32 = 20;
/// A message of a WebSocket, in bytes, however many frames it has.
pub const WEBSOCKET_MESSAGE: usize = 1024 * 1024;
/// Master keys of one direction of a stream (their MKIs tell them apart).
pub const SRTP_KEYS: usize = 8;
/// Sources of a secured stream whose packet indices are kept; only who has the key can make one.
pub const SRTP_SOURCES: usize = 32;
/// Sources of ours under one key; none of them may be forgotten.
pub const SRTP_OWN_SOURCES: usize = 256;
/// A master key identifier, in bytes (RFC 4568 §6.1).
pub const MKI: usize = 128;
/// A MIKEY message, in bytes; real ones have some hundred.
pub const MIKEY: usize = 8 * 1024;
/// Payloads of a MIKEY message, and parameters or keys within one.
pub const MIKEY_PAYLOADS: usize = 64;
/// `a=crypto` and `a=key-mgmt` lines of a section that are looked at.
pub const KEY_LINES: usize = 16;
/// Bytes that TLS takes before the socket has taken them: more records than one write makes.
pub const TLS_UNSENT: usize = 32 * 1024;
/// TLS sessions that an element can resume (each new server of a redirect adds some).
pub const TLS_SESSIONS: usize = 16;
/// Certificates that the application accepted although they failed a check.
pub const TLS_ACCEPTED: usize = 16;
/// Names of a certificate that an error shows.
pub const TLS_NAMES_SHOWN: usize = 8;
/// Names from descriptions that become fields of caps, in the life of the process: GStreamer interns each for ever.
pub const CAPS_NAMES: usize = 4096;
