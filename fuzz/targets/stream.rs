//! The bytes of a connection: the same messages and frames, however they are cut.
#![no_main]

use fuzz::rtsp::framing::{Decoder, Step};
use fuzz::rtsp::limits;
use fuzz::rtsp::message::Message;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
enum Thing {
    Frame(u8, Vec<u8>),
    Message(Message),
    Broken,
}

/// The most that may have to be kept for one message or frame.
const KEPT: usize = limits::START_LINE + limits::HEADER_BLOCK + limits::BODY + limits::RESYNC;

fn decode(stream: &[u8], chunk: usize) -> Vec<Thing> {
    let mut decoder = Decoder::new();
    decoder.assign_channel(0);
    decoder.assign_channel(1);
    let (mut buffer, mut things) = (Vec::new(), Vec::new());
    for piece in stream.chunks(chunk) {
        buffer.extend_from_slice(piece);
        loop {
            let consumed = match decoder.decode(&buffer) {
                Ok(Step::NeedMore { need }) => {
                    assert!(need > 0);
                    break;
                }
                Ok(Step::Skip { consumed, .. }) => consumed,
                Ok(Step::Frame {
                    channel,
                    payload,
                    consumed,
                }) => {
                    things.push(Thing::Frame(channel, buffer[payload].to_vec()));
                    consumed
                }
                Ok(Step::Message { message, consumed }) => {
                    things.push(Thing::Message(message));
                    consumed
                }
                Err(_) => {
                    things.push(Thing::Broken);
                    return things;
                }
            };
            assert!(consumed > 0, "no progress");
            buffer.drain(..consumed);
        }
        assert!(buffer.len() <= KEPT + chunk);
    }
    things
}

fuzz_target!(|data: &[u8]| {
    let Some((chunk, stream)) = data.split_first() else {
        return;
    };
    let whole = decode(stream, stream.len().max(1));
    assert_eq!(decode(stream, usize::from(*chunk).max(1)), whole);
    for thing in &whole {
        if let Thing::Message(message) = thing {
            let _ = fuzz::rtsp::parse::cseq(message.headers());
            let mut written = Vec::new();
            message.write(&mut written);
        }
    }
});
