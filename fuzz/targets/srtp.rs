//! MIKEY messages, `a=crypto` lines, and SRTP packets under known keys: nothing that was not
//! protected with them gets through, and what was written is read.
#![no_main]

use fuzz::Input;
use fuzz::rtp::srtp::{Inbound, Keys, MasterKey, Outbound, Suite};
use fuzz::rtsp::mikey::{self, Fresh};
use fuzz::rtsp::sdp;
use libfuzzer_sys::fuzz_target;

const FRESH: Fresh = Fresh {
    bundle: 1,
    rand: [2; 16],
    ntp: 3,
};

fn message(data: &[u8]) {
    let Ok(keys) = mikey::parse(data) else {
        return;
    };
    assert!(!keys.masters.is_empty());
    assert!(Inbound::new(keys.clone()).is_some() && Outbound::new(keys.clone()).is_some());
    let again = mikey::parse(&mikey::write(&keys, &FRESH)).expect("what is written can be read");
    assert_eq!(again.suite, keys.suite);
    assert_eq!(again.masters.len(), keys.masters.len());
}

fn crypto(line: &str) {
    let text = format!("v=0\r\nm=video 0 RTP/SAVP 96\r\na=crypto:{line}\r\n");
    let Ok(session) = sdp::Session::parse(text.as_bytes()) else {
        return;
    };
    if let Some(keys) = session.media.first().and_then(sdp::Media::crypto) {
        assert!(Inbound::new(keys).is_some());
    }
}

fn packets(input: &mut Input) {
    let suite = Suite::ALL[usize::from(input.byte()) % Suite::ALL.len()];
    let material: Vec<u8> = (0..suite.key_len() + suite.salt_len())
        .map(|n| n as u8)
        .collect();
    let mut master = MasterKey::new(suite, &material).expect("of that length");
    master.mki = vec![7; usize::from(input.byte() % 5)];
    let keys = Keys::new(suite, master);
    let mut inbound = Inbound::new(keys.clone()).expect("keys of the suite");
    let mut outbound = Outbound::new(keys).expect("keys of the suite");
    while !input.is_empty() {
        let (kind, length) = (input.byte(), usize::from(input.byte()));
        let clear = input.take(length).to_vec();
        let mut packet = clear.clone();
        match kind % 4 {
            // Nobody guesses a tag.
            0 => assert!(inbound.rtp(&mut packet).is_err()),
            1 => assert!(inbound.rtcp(&mut packet).is_err()),
            2 if outbound.rtp(&mut packet).is_ok() => {
                if inbound.rtp(&mut packet).is_ok() {
                    assert_eq!(packet, clear);
                }
            }
            3 if outbound.rtcp(&mut packet).is_ok() => {
                assert!(inbound.rtcp(&mut packet).is_ok());
                assert_eq!(packet, clear);
            }
            _ => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => message(input.0),
        1 => crypto(&String::from_utf8_lossy(input.0)),
        _ => packets(&mut input),
    }
});
