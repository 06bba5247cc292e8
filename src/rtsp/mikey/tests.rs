use proptest::prelude::*;

use super::*;

const FRESH: Fresh = Fresh {
    bundle: 0x01020304,
    rand: [9; 16],
    ntp: 5,
};

fn keys(suite: Suite, mkis: &[&[u8]]) -> Keys {
    let master = |mki: &&[u8]| {
        let material: Vec<u8> = (0..(suite.key_len() + suite.salt_len()) as u8).collect();
        let mut master = MasterKey::new(suite, &material).unwrap();
        master.mki = mki.to_vec();
        master
    };
    Keys {
        masters: mkis.iter().map(master).collect(),
        rollovers: vec![(0xabcd, 3), (0xef01, 0)],
        ..Keys::new(suite, master(&mkis[0]))
    }
}

// covers: C-SRTP-10
#[test]
fn what_is_written_is_read() {
    for suite in Suite::ALL {
        for mkis in [&[&[][..]][..], &[&[1, 2]], &[&[1, 2], &[3, 4], &[5, 6]]] {
            let keys = keys(suite, mkis);
            assert_eq!(parse(&write(&keys, &FRESH)), Ok(keys));
        }
    }
    let clear = Keys {
        encrypt_rtcp: false,
        ..keys(Suite::AesCm128Sha1_80, &[&[]])
    };
    assert_eq!(parse(&write(&clear, &FRESH)), Ok(clear));
}

/// A message from parts, with one crypto session.
fn message(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![1, 0, first, 0, 0, 0, 0, 1, 1, 0];
    message.extend([0, 0, 0, 0, 7, 0, 0, 0, 2]);
    message.extend(payloads.concat());
    message
}

/// KEMAC with one key data payload.
fn kemac(kind: u8, key: &[u8], rest: &[u8]) -> Vec<u8> {
    let data = [&[0, kind, 0, key.len() as u8], key, rest].concat();
    [&[0, 0, 0, data.len() as u8], &data[..], &[0]].concat()
}

// covers: C-SRTP-10
#[test]
fn without_a_policy_the_suite_is_the_default_of_srtp() {
    let key = [5; 30];
    let keys = parse(&message(KEMAC, &[&kemac(0x20, &key, &[])])).unwrap();
    assert_eq!(keys.suite, Suite::AesCm128Sha1_80);
    assert_eq!(*keys.masters[0].joined(), key);
    assert_eq!(keys.rollovers, [(7, 2)]);
    assert!(keys.encrypt_rtp && keys.encrypt_rtcp);
}

// covers: C-SRTP-10
#[test]
fn salts_and_identifiers_stand_behind_the_key() {
    let salt = [&[0, 14][..], &[6; 14], &[2, 0xaa, 0xbb]].concat();
    let keys = parse(&message(KEMAC, &[&kemac(0x31, &[5; 16], &salt)])).unwrap();
    assert_eq!(*keys.masters[0].salt, [6; 14]);
    assert_eq!(keys.masters[0].mki, [0xaa, 0xbb]);
    let interval = [6, 0, 0, 0, 0, 0, 1, 6, 0, 0, 0, 1, 0, 0];
    let keys = parse(&message(KEMAC, &[&kemac(0x22, &[5; 30], &interval)])).unwrap();
    assert_eq!(keys.masters[0].lifetime, Some(65_536));
}

// covers: C-SRTP-10
#[test]
fn payloads_that_say_nothing_about_keys_are_passed_over() {
    let kemac = kemac(0x20, &[5; 30], &[]);
    let time = [&[ID, 0][..], &[0; 8]].concat();
    let id = [EXTENSION, 0, 0, 3, b'a', b'b', b'c'];
    let extension = [V, 0, 0, 1, 0];
    let v = [RAND, 0];
    let rand = [SP, 2, 1, 2];
    let policy = [KEMAC, 0, 0, 0, 3, TAG_LENGTH, 1, 4];
    let parts: [&[u8]; 7] = [&time, &id, &extension, &v, &rand, &policy, &kemac];
    let keys = parse(&message(TIME, &parts)).unwrap();
    assert_eq!(keys.suite, Suite::AesCm128Sha1_32);
    let padded = [message(TIME, &parts), vec![0; 16]].concat();
    assert_eq!(parse(&padded), Ok(keys));
}

// covers: C-SRTP-10, C-SRTP-07
#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let good = message(KEMAC, &[&kemac(0x20, &[5; 30], &[])]);
    let with = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        parse(&message)
    };
    assert_eq!(with(0, 2), Err(MikeyError::Version(2)));
    assert_eq!(with(1, 2), Err(MikeyError::Type(2)));
    assert_eq!(with(2, 4), Err(MikeyError::Payload(4)));
    assert_eq!(with(9, 1), Err(MikeyError::NotSrtp));
    assert_eq!(with(20, 1), Err(MikeyError::Encrypted));
    assert_eq!(with(good.len() - 1, 1), Err(MikeyError::Encrypted));
    assert_eq!(parse(&vec![0; limits::MIKEY + 1]), Err(MikeyError::TooLong));

    let policy = |parameters: &[u8]| {
        let sp = [&[KEMAC, 0, 0, 0, parameters.len() as u8], parameters].concat();
        parse(&message(SP, &[&sp, &kemac(0x20, &[5; 30], &[])])).map(|keys| keys.suite)
    };
    assert_eq!(policy(&[]), Ok(Suite::AesCm128Sha1_80));
    for (parameters, why) in [
        (&[AUTHENTICATE, 1, 0][..], "packets that are not signed"),
        (&[AUTHENTICATION, 1, 0], "packets that are not signed"),
        (&[ENCRYPTION, 1, 2], "cipher"),
        (&[KEY_LENGTH, 1, 24], "key length"),
        (&[TAG_LENGTH, 1, 0], "tag length"),
        (&[TAG_LENGTH, 1, 8], "tag length"),
        (&[PRF, 1, 1], "key derivation"),
        (&[DERIVATION_RATE, 1, 4], "key derivation rate"),
        (
            &[ENCRYPTION, 1, 6, AEAD_TAG_LENGTH, 1, 8],
            "AEAD tag length",
        ),
    ] {
        assert_eq!(policy(parameters), Err(MikeyError::Policy(why)));
    }
    // Too short for the suite, and a key to derive others from.
    assert_eq!(policy(&[ENCRYPTION, 1, 6]), Err(MikeyError::NoKey));
    for kemac in [kemac(0x20, &[5; 16], &[]), kemac(0x00, &[5; 30], &[])] {
        assert_eq!(parse(&message(KEMAC, &[&kemac])), Err(MikeyError::NoKey));
    }
    assert_eq!(parse(&message(LAST, &[])), Err(MikeyError::NoKey));
}

// covers: H-37
#[test]
fn endless_chains_and_counts_have_an_end() {
    let rand = [RAND, 0].repeat(1000);
    assert_eq!(parse(&message(RAND, &[&rand])), Err(MikeyError::TooMany));
    let parameters = [99, 0].repeat(100);
    let sp = [&[KEMAC, 0, 0, 0, 200], &parameters[..]].concat();
    assert_eq!(parse(&message(SP, &[&sp])), Err(MikeyError::TooMany));
    let mut many = message(KEMAC, &[&kemac(0x20, &[5; 30], &[])]);
    many[8] = 255;
    assert!(parse(&many).is_err());
}

proptest! {
    // covers: H-37
    #[test]
    fn a_message_that_is_cut_off_or_damaged_is_no_panic(
        cut in 0usize..200, at in 0usize..200, value: u8, suite in 0usize..6,
    ) {
        let mut message = write(&keys(Suite::ALL[suite], &[&[1], &[2]]), &FRESH).to_vec();
        if let Some(octet) = message.get_mut(at) {
            *octet = value;
        }
        message.truncate(cut);
        if let Ok(keys) = parse(&message) {
            prop_assert!(crate::rtp::srtp::Inbound::new(keys).is_some());
        }
    }

    // covers: H-37
    #[test]
    fn any_bytes_are_no_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }
}
