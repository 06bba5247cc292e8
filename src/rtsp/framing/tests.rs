use super::*;
use crate::rtsp::message::{Method, Response};
use crate::rtsp::parse::cseq;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Frame(u8, Vec<u8>),
    Message(Message),
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    damaged: usize,
    blank: usize,
    resyncs: u64,
    /// Bytes that are left, unless there was an error.
    rest: Option<usize>,
    error: Option<FramingError>,
}

/// Feeds `chunks` one after the other, like a connection does.
fn feed(decoder: &mut Decoder, chunks: &[&[u8]]) -> Outcome {
    let mut buf = Vec::new();
    let mut outcome = Outcome::default();
    'chunks: for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            let consumed = match decoder.decode(&buf) {
                Ok(Step::Frame {
                    channel,
                    payload,
                    consumed,
                }) => {
                    assert_eq!((payload.start, payload.end), (4, consumed));
                    outcome
                        .events
                        .push(Event::Frame(channel, buf[payload].to_vec()));
                    consumed
                }
                Ok(Step::Message { message, consumed }) => {
                    outcome.events.push(Event::Message(message));
                    consumed
                }
                Ok(Step::Skip { consumed, damaged }) => {
                    *(if damaged {
                        &mut outcome.damaged
                    } else {
                        &mut outcome.blank
                    }) += consumed;
                    consumed
                }
                Ok(Step::NeedMore { need }) => {
                    assert!(need >= 1);
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    break 'chunks;
                }
            };
            assert!(
                (1..=buf.len()).contains(&consumed),
                "{consumed} of {}",
                buf.len()
            );
            buf.drain(..consumed);
        }
    }
    outcome.resyncs = decoder.resyncs();
    if outcome.error.is_none() {
        outcome.rest = Some(buf.len());
    }
    outcome
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new();
    decoder.assign_channel(0);
    decoder.assign_channel(1);
    decoder.assign_channel(200);
    decoder
}

fn whole(bytes: &[u8]) -> Outcome {
    feed(&mut decoder(), &[bytes])
}

fn bytewise(bytes: &[u8]) -> Outcome {
    feed(&mut decoder(), &bytes.chunks(1).collect::<Vec<_>>())
}

fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'$', channel];
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn response(cseq: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut response = Response::new(200, "OK", Default::default());
    response.headers.push("CSeq", cseq.to_string());
    response.body = body.to_vec();
    response.write(&mut out);
    out
}

fn messages(outcome: &Outcome) -> Vec<u32> {
    let messages = outcome.events.iter().filter_map(|event| match event {
        Event::Message(message) => cseq(message.headers()),
        Event::Frame(..) => None,
    });
    messages.collect()
}

fn frames(outcome: &Outcome) -> Vec<(u8, usize)> {
    let frames = outcome.events.iter().filter_map(|event| match event {
        Event::Frame(channel, payload) => Some((*channel, payload.len())),
        Event::Message(_) => None,
    });
    frames.collect()
}

/// A stream with a bit of everything that is legal.
fn conversation() -> Vec<u8> {
    [
        response(1, b"v=0\r\n$\0\0\x01RTSP/1.0 200 OK\r\n\r\n"),
        frame(0, b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n"),
        b"\r\n\n".to_vec(),
        frame(1, b"$\0\0\x02ab"),
        b"OPTIONS * RTSP/1.0\nCSeq : 2\n\n".to_vec(),
        b"RTSP/1.0 100\rCSeq:3\rContent-Length: 50\r\r".to_vec(),
        frame(7, &[0; 300]),
        frame(0, b""),
        b"VENDOR_X rtsp://h/a RTSP/1.0\r\n folded\r\nCSeq: 4\r\n more\r\nSession: 1\r\n\r\n"
            .to_vec(),
        response(5, b""),
        frame(200, b"x"),
    ]
    .concat()
}

#[test]
fn messages_requests_and_frames_of_one_read_come_in_wire_order() {
    // covers: B-MSG-05 B-IL-01 B-IL-02 B-IL-08
    let outcome = whole(&conversation());
    assert_eq!(frames(&outcome), [(0, 29), (1, 6), (7, 300), (200, 1)]);
    // CSeq 4 was folded to "4 more", which is no number.
    assert_eq!(messages(&outcome), [1, 2, 3, 5]);
    assert_eq!(outcome.events.len(), 9);
    assert_eq!(
        (outcome.damaged, outcome.blank, outcome.rest),
        (0, 3 + 4, Some(0))
    );
    let Event::Message(Message::Request(request)) = &outcome.events[3] else {
        panic!()
    };
    assert_eq!(
        (&request.method, request.uri.as_str()),
        (&Method::Options, "*")
    );
}

#[test]
fn every_cut_yields_the_same_messages_and_frames() {
    // covers: B-MSG-04
    let bytes = conversation();
    let expected = whole(&bytes);
    assert_eq!(bytewise(&bytes), expected);
    for at in 0..bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(feed(&mut decoder(), &[a, b]), expected, "cut at {at}");
    }
}

#[test]
fn unread_bytes_of_the_next_message_stay_in_the_buffer() {
    // covers: B-MSG-05
    let bytes = [response(1, b""), b"RTSP/1.0 2".to_vec()].concat();
    let outcome = whole(&bytes);
    assert_eq!((messages(&outcome), outcome.rest), (vec![1], Some(10)));
}

#[test]
fn a_cr_at_the_end_of_the_buffer_is_not_classified() {
    // covers: B-MSG-02
    let mut decoder = Decoder::new();
    let head = b"RTSP/1.0 200 OK\rCSeq: 1\r\r";
    assert_eq!(decoder.decode(head), Ok(Step::NeedMore { need: 1 }));
    let crlf = [&head[..], b"\n"].concat();
    assert!(matches!(
        decoder.decode(&crlf),
        Ok(Step::Message { consumed: 26, .. })
    ));
    assert_eq!(decoder.decode(b"\r"), Ok(Step::NeedMore { need: 1 }));
    assert_eq!(decoder.partial(), None);
    assert_eq!(
        decoder.decode(b"\r\n$"),
        Ok(Step::Skip {
            consumed: 2,
            damaged: false
        })
    );
    assert_eq!(
        decoder.decode(b"\r$"),
        Ok(Step::Skip {
            consumed: 1,
            damaged: false
        })
    );
}

#[test]
fn blank_lines_before_a_start_are_skipped_up_to_the_limit() {
    // covers: B-MSG-03
    let at_limit = [b"\r\n".repeat(limits::BLANK_LINES), response(1, b"")].concat();
    let past = [b"\r\n".repeat(limits::BLANK_LINES + 1), response(1, b"")].concat();
    for read in [whole, bytewise] {
        assert_eq!(messages(&read(&at_limit)), [1]);
        assert_eq!(read(&past).error, Some(FramingError::TooManyBlankLines));
    }
    // The count begins anew after each message and frame.
    let again = [&at_limit[..], &at_limit, &frame(0, b"x"), &at_limit].concat();
    assert_eq!(messages(&whole(&again)), [1, 1, 1]);
}

#[test]
fn need_is_exact_for_frames_and_bodies() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b""), Ok(Step::NeedMore { need: 1 }));
    assert_eq!(decoder.partial(), None);
    for (bytes, need) in [
        (&b"$"[..], 3),
        (b"$\0", 2),
        (b"$\0\x01", 1),
        (b"$\0\x01\x02", 258),
        (b"$\0\x01\x02a", 257),
    ] {
        assert_eq!(decoder.decode(bytes), Ok(Step::NeedMore { need }));
        assert_eq!(decoder.partial(), Some(Partial::Frame));
    }
    let mut decoder = Decoder::new();
    let message = response(1, b"0123456789");
    assert_eq!(
        decoder.decode(&message[..message.len() - 7]),
        Ok(Step::NeedMore { need: 7 })
    );
    assert_eq!(decoder.partial(), Some(Partial::Message));
    assert!(matches!(decoder.decode(&message), Ok(Step::Message { .. })));
    assert_eq!(decoder.partial(), None);
}

#[test]
fn frames_of_length_0_and_65535_and_a_lone_dollar() {
    // covers: B-IL-02 H-10
    let zeros = frame(0, b"").repeat(100_000);
    let outcome = whole(&[zeros, frame(1, &[0x24; 65535])].concat());
    assert_eq!(
        (frames(&outcome), outcome.blank),
        (vec![(1, 65535)], 400_000)
    );
    let outcome = whole(&frame(1, &[0; 65535])[..65538]);
    assert_eq!((outcome.events.len(), outcome.rest), (0, Some(65538)));
    assert_eq!(whole(b"$").rest, Some(1));
}

#[test]
fn payload_of_a_correct_frame_never_triggers_resync() {
    // covers: B-IL-08 H-11
    let payload = b"RTSP/1.0 200 OK\r\n\r\n$\0\0\x05\r\n\r\nTEARDOWN * RTSP/1.0\r\n\r\n";
    let bytes = frame(9, payload).repeat(50);
    let outcome = bytewise(&bytes);
    assert_eq!(
        (frames(&outcome).len(), outcome.damaged, outcome.resyncs),
        (50, 0, 0)
    );
}

#[test]
fn resync_loses_only_the_bytes_before_the_recovery_point() {
    // covers: B-IL-07 B-IL-08 H-11
    let media = [frame(0, &[1; 40]), frame(1, &[2; 8])].concat();
    for (name, garbage, next, events) in [
        ("response", &b"\x80\x01garbage$\0"[..], response(1, b"x"), 1),
        (
            "response inside a line",
            b"\x80half a line ",
            response(1, b"x"),
            1,
        ),
        (
            "request",
            b"\x01\x02 PLAY x\r\n",
            b"OPTIONS * RTSP/1.0\r\n\r\n".to_vec(),
            1,
        ),
        (
            "frames",
            b"\x80$\x05\0\x01$$$\0\0",
            [media.clone(), response(1, b"")].concat(),
            3,
        ),
        (
            "frame, blank line",
            b"\x01",
            [frame(0, b"abc"), b"\r\n".to_vec(), frame(0, b"d")].concat(),
            2,
        ),
        (
            "http",
            b"HTTP/1.1 400 Bad Request\r\nA: b\r\n\r\n",
            response(1, b""),
            1,
        ),
        ("text line", b"some words of text\r\n", response(1, b""), 1),
        (
            "wrong status line",
            b"RTSP/x.0 200 OK\r\n",
            response(1, b""),
            1,
        ),
    ] {
        let bytes = [garbage, &next].concat();
        for outcome in [whole(&bytes), bytewise(&bytes)] {
            assert_eq!(outcome.events.len(), events, "{name} {outcome:?}");
            assert_eq!(
                (outcome.damaged, outcome.resyncs, outcome.rest),
                (garbage.len(), 1, Some(0)),
                "{name}"
            );
        }
    }
}

#[test]
fn a_frame_is_a_recovery_point_only_on_an_assigned_channel_and_before_a_start() {
    // covers: B-IL-07
    let bytes = [
        b"\x01".to_vec(),
        frame(7, b"abcd"),
        frame(0, b"ab\x03"),
        response(3, b""),
    ]
    .concat();
    let outcome = whole(&bytes);
    assert_eq!((frames(&outcome), outcome.damaged), (vec![(0, 3)], 9));
    let mut none = Decoder::new();
    none.assign_channel(0);
    none.clear_channels();
    let outcome = feed(&mut none, &[&bytes]);
    assert_eq!((frames(&outcome), messages(&outcome)), (vec![], vec![3]));
    let bytes = [
        b"\x01".to_vec(),
        frame(0, b"abcd"),
        b"\x02".to_vec(),
        response(3, b""),
    ]
    .concat();
    assert_eq!(frames(&whole(&bytes)), []);
}

#[test]
fn a_dollar_in_the_damage_does_not_hide_a_response() {
    // covers: B-IL-07
    let bytes = [b"\x80$\0\xff\xff".to_vec(), response(1, b"")].concat();
    assert_eq!(messages(&whole(&bytes)), [1]);
    assert_eq!(messages(&bytewise(&bytes)), [1]);
}

#[test]
fn resync_is_bounded() {
    // covers: B-IL-07 B-IL-09 H-07
    let at_limit = [vec![0x80; limits::RESYNC], response(1, b"")].concat();
    let past = [vec![0x80; limits::RESYNC + 1], response(1, b"")].concat();
    assert_eq!(messages(&whole(&at_limit)), [1]);
    assert_eq!(messages(&bytewise(&at_limit)), [1]);
    let expected = FramingError::LostSync("\\x80".repeat(64));
    assert_eq!(whole(&past).error, Some(expected.clone()));
    assert_eq!(bytewise(&past).error, Some(expected));
    // False recovery points do not give new credit.
    let line = b"\x80\r\nPLAY nothing of interest\r\n".repeat(limits::RESYNC / 20);
    let outcome = whole(&line);
    assert!(
        matches!(outcome.error, Some(FramingError::LostSync(_))),
        "{:?}",
        outcome.error
    );
    assert_eq!(outcome.resyncs, 1);
}

#[test]
fn banners_of_other_protocols_are_damage_with_an_excerpt() {
    // covers: H-07
    for banner in [
        &b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n<html>..</html>"[..],
        b"220 mail.example.org ESMTP\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xfeR\x00T\x00S\x00P\x00/\x001\x00.\x000\x00",
        b"\0\0\0\0",
        b"<!DOCTYPE html>\n<html>\n",
    ] {
        let mut decoder = decoder();
        let outcome = feed(&mut decoder, &[banner]);
        assert_eq!(
            (outcome.events.len(), outcome.resyncs),
            (0, 1),
            "{banner:?}"
        );
        assert_eq!(decoder.partial(), Some(Partial::Damage));
        assert_eq!(decoder.damage_excerpt(), banner.escape_ascii().to_string());
    }
}

#[test]
fn other_major_version_is_an_error() {
    // covers: B-MSG-07
    let outcome = bytewise(b"RTSP/3.0 200 OK\r\nCSeq: 1\r\n\r\n");
    assert!(matches!(
        outcome.error,
        Some(FramingError::Parse(ParseError::Version(_)))
    ));
}

#[test]
fn start_line_is_bounded() {
    // covers: H-02
    let line = |length: usize| {
        let start = "RTSP/1.0 200 ";
        let text = format!("{start}{}\r\n\r\n", "x".repeat(length - start.len()));
        whole(text.as_bytes())
    };
    assert_eq!(line(limits::START_LINE).events.len(), 1);
    assert_eq!(
        line(limits::START_LINE + 1).error,
        Some(FramingError::StartLineTooLong)
    );
    // Before its end is there, if it ever is.
    let endless = [b"DESCRIBE ".to_vec(), vec![b'x'; limits::START_LINE]].concat();
    assert_eq!(whole(&endless).error, Some(FramingError::StartLineTooLong));
}

#[test]
fn header_line_is_bounded_with_its_folded_parts() {
    // covers: H-02
    let header = |lines: &str| whole(format!("RTSP/1.0 200 OK\r\n{lines}\r\n\r\n").as_bytes());
    let half = "x".repeat(limits::HEADER_LINE / 2);
    assert_eq!(
        header(&format!("A:{}", &"x".repeat(limits::HEADER_LINE - 2)))
            .events
            .len(),
        1
    );
    let past = header(&format!("A:{}", &"x".repeat(limits::HEADER_LINE - 1)));
    assert_eq!(past.error, Some(FramingError::HeaderLineTooLong));
    let folded = format!("A:{}\r\n {}", &half[2..], &half[1..]);
    assert_eq!(header(&folded).events.len(), 1);
    assert_eq!(
        header(&format!("{folded}x")).error,
        Some(FramingError::HeaderLineTooLong)
    );
    let endless = [
        b"RTSP/1.0 200 OK\r\nA:".to_vec(),
        vec![b'x'; limits::HEADER_LINE],
    ]
    .concat();
    assert_eq!(whole(&endless).error, Some(FramingError::HeaderLineTooLong));
}

#[test]
fn header_block_is_bounded_in_lines_and_bytes() {
    // covers: H-01 H-02
    let message = |lines: &str| whole(format!("RTSP/1.0 200 OK\r\n{lines}\r\n").as_bytes());
    assert_eq!(
        message(&"A:\n".repeat(limits::HEADER_LINES)).events.len(),
        1
    );
    let past = message(&"A:\n".repeat(limits::HEADER_LINES + 1));
    assert_eq!(past.error, Some(FramingError::TooManyHeaderLines));
    // 64 lines of 1 KiB each.
    let line = format!("A:{}\r\n", "x".repeat(1020));
    let block = line.repeat(limits::HEADER_BLOCK / line.len());
    assert_eq!(block.len(), limits::HEADER_BLOCK);
    assert_eq!(message(&block).events.len(), 1);
    assert_eq!(
        message(&format!("A{block}")).error,
        Some(FramingError::HeadersTooLarge)
    );
}

#[test]
fn body_is_bounded_before_anything_is_reserved() {
    // covers: H-03 B-MSG-17
    for length in [
        "18446744073709551616",
        "999999999999",
        "-1",
        "+5",
        "0x10",
        "5 5",
    ] {
        let head = format!("RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert!(
            matches!(whole(head.as_bytes()).error, Some(FramingError::Parse(_))),
            "{length}"
        );
    }
    let body = vec![b'x'; limits::BODY];
    assert_eq!(messages(&whole(&response(1, &body))), [1]);
}

#[test]
fn a_head_that_trickles_in_is_looked_at_once() {
    // covers: B-MSG-04 H-02
    let line = format!("A:{}\r\n", "x".repeat(1020));
    let head = format!(
        "RTSP/1.0 200 OK\r\n{}\r\n",
        line.repeat(limits::HEADER_BLOCK / line.len())
    );
    let mut decoder = Decoder::new();
    for end in 1..head.len() {
        assert_eq!(
            decoder.decode(&head.as_bytes()[..end]),
            Ok(Step::NeedMore { need: 1 })
        );
        let Phase::Head(scan) = decoder.phase else {
            panic!()
        };
        assert!(scan.scanned + 1 >= end);
    }
    assert!(matches!(
        decoder.decode(head.as_bytes()),
        Ok(Step::Message { .. })
    ));
}

#[test]
fn a_buffer_that_lost_bytes_does_no_harm() {
    let mut decoder = Decoder::new();
    let message = response(1, b"");
    decoder.decode(&message[..20]).unwrap();
    decoder.decode(&message[..2]).unwrap();
    assert!(matches!(decoder.decode(&message), Ok(Step::Message { .. })));
}

#[test]
fn channels_are_assigned_one_by_one() {
    let decoder = decoder();
    let assigned: Vec<_> = (0..=255)
        .filter(|channel| decoder.is_assigned(*channel))
        .collect();
    assert_eq!(assigned, [0, 1, 200]);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static [u8]| Just(text.to_vec());
    prop_oneof![
        (
            prop::sample::select(vec![0u8, 1, 7, 200]),
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(channel, payload)| frame(channel, &payload)),
        (0..1000u32, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(n, body)| response(n, &body)),
        prop::collection::vec(any::<u8>(), 0..12),
        prop::sample::select(starts::METHODS.to_vec()).prop_map(|method| method.to_vec()),
        "[a-zR ]{0,70}".prop_map(String::into_bytes),
        text(b"OPTIONS * RTSP/1.0\rCSeq: 1\r\r"),
        text(b"RTSP/1.0 404\nA: b\n c\nnone\n\n"),
        text(b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"),
        text(b"\r"),
        text(b"\r\n\n"),
        text(b"RTSP/"),
        text(b"RTSP/1.0 2"),
        text(b"$"),
        text(b"$\0\0\x04"),
        text(b"\x80$\0\0\x20"),
    ]
}

proptest! {
    #[test]
    fn any_split_same_result(
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        // covers: B-MSG-04
        let bytes = pieces.concat();
        let expected = whole(&bytes);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(feed(&mut decoder(), &chunks), expected);
        prop_assert_eq!(bytewise(&bytes), whole(&bytes));
    }

    #[test]
    fn no_panic_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let outcome = whole(&bytes);
        if let Some(rest) = outcome.rest {
            prop_assert!(rest + outcome.damaged + outcome.blank <= bytes.len());
        }
    }
}

// covers: B-MSG-02, B-MSG-13
#[test]
fn what_is_made_allowance_for_is_named_once() {
    let mut decoder = Decoder::new();
    let reply: &[u8] =
        b"\r\nRTSP/1.0 200 OK\nno header\n\n$\x00\x00\x00\xffRTSP/1.0 200 OK\r\n\r\n";
    feed(&mut decoder, &[reply, reply]);
    let mut quirks: Vec<_> = std::iter::from_fn(|| decoder.take_quirk()).collect();
    quirks.sort();
    assert_eq!(
        quirks,
        [
            "bare-line-ends",
            "blank-lines-between-messages",
            "bytes-between-messages",
            "empty-frames",
            "header-line-without-name",
        ]
    );
    feed(&mut decoder, &[reply]);
    assert_eq!(decoder.take_quirk(), None);
}

#[test]
fn a_server_of_another_protocol_is_told_by_its_first_bytes() {
    let html = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>";
    let alert = [21, 3, 1, 0, 2, 2, 70];
    let banner = b"SSH-2.0-x\r\n";
    for (bytes, stranger) in [
        (&html[..], Stranger::Http),
        (&alert[..], Stranger::Tls),
        (&banner[..], Stranger::Unknown("SSH-2.0-x\\r\\n".into())),
    ] {
        // Whole, and byte by byte.
        for size in [bytes.len(), 1] {
            let mut decoder = Decoder::new();
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            feed(&mut decoder, &chunks);
            assert_eq!(decoder.stranger(), Some(stranger.clone()));
        }
        // With a message of RTSP before or after it, it is damage like any other.
        let ok = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";
        for chunks in [[ok, bytes], [bytes, ok]] {
            let mut decoder = Decoder::new();
            feed(&mut decoder, &chunks);
            assert_eq!(decoder.stranger(), None);
        }
    }
}
