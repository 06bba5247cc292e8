use super::transform::{Aes, Kind, Place, Transform, derive};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|d| (d[0] * 16 + d[1]) as u8).collect()
}

fn master(key: &str, salt: &str) -> MasterKey {
    MasterKey {
        key: hex(key).into(),
        salt: hex(salt).into(),
        mki: Vec::new(),
        lifetime: None,
    }
}

const KEY: &str = "E1F97A0D3E018BE0D64FA32C06DE4139";
const SALT: &str = "0EC675AD498AFEEBB6960B3AABE6";

// covers: B-SRTP-01
#[test]
fn key_streams_are_those_of_rfc_3711_b2_and_rfc_6188_7_1() {
    let key_128 = "2B7E151628AED2A6ABF7158809CF4F3C";
    let key_256 = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
    for (key, first, last) in [
        (
            key_128,
            "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB",
            "362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44",
        ),
        (
            key_256,
            "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac",
            "3dbc4814f4da5f00a08772b63c6a046d6eb246913062a16891433e97dd01a57f",
        ),
    ] {
        let mut stream = vec![0; 0xff02 * 16];
        let iv = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000");
        let iv = iv.first_chunk().unwrap();
        Aes::new(&hex(key)).unwrap().counter_mode(iv, &mut stream);
        assert_eq!(stream[..32], hex(first));
        assert_eq!(stream[0xff00 * 16..], hex(last));
    }
}

// covers: B-SRTP-01, B-SRTP-08
#[test]
fn session_keys_are_those_of_rfc_3711_b3_and_rfc_6188_7_2() {
    let small = master(KEY, SALT);
    let large = master(
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
        "3b04803de51ee7c96423ab5b78d2",
    );
    let auth_94 = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
        E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
        6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
    for (master, label, expected) in [
        (&small, 0, "C61E7A93744F39EE10734AFE3FF7A087"),
        (&small, 2, "30CBBC08863D8C85D49DB34A9AE1"),
        (&small, 1, auth_94),
        (
            &large,
            0,
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
        ),
        (&large, 2, "fa31791685ca444a9e07c6c64e93"),
        (&large, 1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"),
    ] {
        let expected = hex(expected);
        let derived = derive(master, Kind::Rtp, label, expected.len()).unwrap();
        assert_eq!(*derived, expected, "label {label}");
    }
}

// covers: B-SRTP-01
#[test]
fn gcm_packets_are_those_of_rfc_7714_16_and_17() {
    let salt = *hex("517569642070726f2071756f").first_chunk().unwrap();
    let key_128: Vec<u8> = (0..16).collect();
    let key_256: Vec<u8> = (0..32).collect();
    let rtp = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976\
        69736120696e207061727465732074726573";
    let rtcp = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let rtp_place = Place {
        header: 12,
        ssrc: 0x5501a0b2,
        index: 0xf17b,
        encrypted: true,
    };
    let rtcp_place = Place {
        header: 8,
        ssrc: 0x4d617273,
        index: 0x5d4,
        encrypted: true,
    };
    let signed_only = Place {
        encrypted: false,
        ..rtcp_place
    };
    for (kind, key, place, clear, sealed) in [
        (
            Kind::Rtp,
            &key_128,
            rtp_place,
            rtp,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5\
             0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Kind::Rtp,
            &key_256,
            rtp_place,
            rtp,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238\
             9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
        (
            Kind::Rtcp,
            &key_128,
            rtcp_place,
            rtcp,
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
             c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade",
        ),
        (
            Kind::Rtcp,
            &key_256,
            rtcp_place,
            rtcp,
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50\
             a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be",
        ),
        (
            Kind::Rtcp,
            &key_128,
            signed_only,
            rtcp,
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef841dd9683dd78ec92ae58790125f62b3",
        ),
        (
            Kind::Rtcp,
            &key_256,
            signed_only,
            rtcp,
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef91db4afbfeee5a978fab4393ed2615fe",
        ),
    ] {
        let transform = Transform::with_session_key(key, salt, kind);
        let mut packet = hex(clear);
        let tag = transform.seal(&mut packet, place).unwrap();
        let whole = [packet.as_slice(), &tag].concat();
        assert_eq!(whole, hex(sealed));
        assert!(transform.open(&mut packet, place, &tag));
        assert_eq!(packet, hex(clear));
        let damaged = [&tag[..15], &[tag[15] ^ 1]].concat();
        assert!(!transform.open(&mut packet, place, &damaged));
        assert_eq!(packet, hex(clear), "what is refused stays as it was");
    }
}

fn keys(suite: Suite) -> Keys {
    let material: Vec<u8> = (0..64).collect();
    let length = suite.key_len() + suite.salt_len();
    let master = MasterKey::new(suite, &material[..length]).unwrap();
    Keys::new(suite, master)
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(sequence.to_be_bytes().repeat(50));
    packet
}

fn sealed(outbound: &mut Outbound, sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = rtp(sequence, ssrc);
    outbound.rtp(&mut packet).unwrap();
    packet
}

/// The packets of libsrtp's own driver, with the keys of RFC 3711 §B.3.
// covers: B-SRTP-01, B-SRTP-04
#[test]
fn whole_packets_are_those_of_libsrtp() {
    let keys = Keys::new(Suite::AesCm128Sha1_80, master(KEY, SALT));
    let mut outbound = Outbound::new(keys.clone()).unwrap();
    let clear = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let mut packet = clear.clone();
    outbound.rtp(&mut packet).unwrap();
    assert_eq!(
        packet,
        hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb")
    );
    let mut inbound = Inbound::new(keys).unwrap();
    inbound.rtp(&mut packet).unwrap();
    assert_eq!(packet, clear);

    let clear = hex("81c8000bcafebabeabababababababababababababababab");
    let mut packet = clear.clone();
    outbound.rtcp(&mut packet).unwrap();
    assert_eq!(
        packet,
        hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798")
    );
    inbound.rtcp(&mut packet).unwrap();
    assert_eq!(packet, clear);
}

// covers: B-SRTP-05, B-SRTP-06
#[test]
fn each_suite_opens_what_it_has_sealed_with_and_without_mki() {
    for suite in Suite::ALL {
        for mki in [vec![], vec![7], vec![1, 2, 3, 4]] {
            let mut keys = keys(suite);
            keys.masters[0].mki = mki.clone();
            let mut outbound = Outbound::new(keys.clone()).unwrap();
            let mut inbound = Inbound::new(keys.clone()).unwrap();
            for sequence in 65_530..65_536 + 10u32 {
                let clear = rtp(sequence as u16, 9);
                let mut packet = clear.clone();
                outbound.rtp(&mut packet).unwrap();
                assert_eq!(packet.len(), clear.len() + keys.overhead());
                assert_ne!(packet[12..40], clear[12..40]);
                inbound.rtp(&mut packet).unwrap();
                assert_eq!(packet, clear);

                let clear = [&[0x80, 201, 0, 1, 0, 0, 0, 9], &[1; 24][..]].concat();
                let mut packet = clear.clone();
                outbound.rtcp(&mut packet).unwrap();
                assert_ne!(packet[8..32], clear[8..32]);
                inbound.rtcp(&mut packet).unwrap();
                assert_eq!(packet, clear);
            }
            assert_eq!(inbound.stats(), Stats::default());
        }
    }
}

// covers: B-SRTP-03, B-SRTP-04
#[test]
fn no_changed_octet_and_no_replay_gets_through_or_changes_anything() {
    for suite in Suite::ALL {
        let mut outbound = Outbound::new(keys(suite)).unwrap();
        let mut inbound = Inbound::new(keys(suite)).unwrap();
        let packet = sealed(&mut outbound, 100, 9);
        let mut report = [&[0x80, 201, 0, 1, 0, 0, 0, 9], &[1; 24][..]].concat();
        outbound.rtcp(&mut report).unwrap();
        let mut refused = 0;
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 0x10;
            assert!(inbound.rtp(&mut damaged).is_err(), "{suite:?} octet {at}");
            refused += 1;
        }
        for at in 0..report.len() {
            let mut damaged = report.clone();
            damaged[at] ^= 0x10;
            assert!(inbound.rtcp(&mut damaged).is_err(), "{suite:?} octet {at}");
            refused += 1;
        }
        for end in 0..packet.len() {
            assert!(inbound.rtp(&mut packet[..end].to_vec()).is_err());
            refused += 1;
        }
        assert_eq!(inbound.stats().unauthentic, refused);
        inbound.rtp(&mut packet.clone()).unwrap();
        inbound.rtcp(&mut report.clone()).unwrap();
        assert_eq!(inbound.rtp(&mut packet.clone()), Err(Refused::Replay));
        assert_eq!(inbound.rtcp(&mut report.clone()), Err(Refused::Replay));
        assert_eq!(inbound.stats().replayed, 2);
    }
}

// covers: B-SRTP-02
#[test]
fn the_rollover_counter_follows_wraps_losses_and_late_packets() {
    let mut outbound = Outbound::new(keys(Suite::AesCm128Sha1_80)).unwrap();
    let mut inbound = Inbound::new(keys(Suite::AesCm128Sha1_80)).unwrap();
    let sent: Vec<_> = (0..200_000u32)
        .map(|n| sealed(&mut outbound, (n + 65_000) as u16, 9))
        .collect();
    let take = |inbound: &mut Inbound, n: usize| inbound.rtp(&mut sent[n].clone());
    take(&mut inbound, 534).unwrap();
    take(&mut inbound, 536).unwrap();
    // Late, across the wrap.
    take(&mut inbound, 535).unwrap();
    take(&mut inbound, 536 + 0x7fff).unwrap();
    take(&mut inbound, 536 + 2 * 0x7fff).unwrap();
    take(&mut inbound, 536 + 3 * 0x7fff).unwrap();
    // Jumps that are not authentic change nothing.
    let forged: Vec<_> = (0..10u16).map(|n| rtp(n * 6000, 9)).collect();
    for mut forged in forged {
        forged.extend([0; 10]);
        assert!(inbound.rtp(&mut forged).is_err());
    }
    take(&mut inbound, 537 + 3 * 0x7fff).unwrap();
    // Another source has a counter of its own.
    let mut other = sealed(&mut outbound, 5, 10);
    inbound.rtp(&mut other).unwrap();
}

// covers: B-SRTP-02
#[test]
fn more_than_half_a_cycle_that_is_lost_is_found_out() {
    let mut outbound = Outbound::new(keys(Suite::AesCm128Sha1_80)).unwrap();
    let mut inbound = Inbound::new(keys(Suite::AesCm128Sha1_80)).unwrap();
    let sent: Vec<_> = (0..60_000u32)
        .map(|n| sealed(&mut outbound, (n + 40_000) as u16, 9))
        .collect();
    inbound.rtp(&mut sent[0].clone()).unwrap();
    let after = sent[50_000..].iter();
    let refused = after
        .take_while(|packet| inbound.rtp(&mut packet.to_vec()).is_err())
        .count();
    assert_eq!(refused, 16);
    inbound.rtp(&mut sent[59_999].clone()).unwrap();
}

// covers: B-SRTP-16
#[test]
fn who_joins_late_needs_the_rollover_counter_and_may_be_told_an_old_one() {
    let mut outbound = Outbound::new(keys(Suite::AesGcm128)).unwrap();
    let last = (0..70_000u32)
        .map(|n| sealed(&mut outbound, n as u16, 9))
        .last()
        .unwrap();
    for (rollovers, joins) in [
        (vec![(9, 1)], true),
        (vec![(0, 1)], true),
        // It went on since it was said: RFC 3711 §3.3.1 leaves that to whoever joins.
        (vec![(9, 0)], true),
        (vec![], true),
        (vec![(9, 2)], false),
        (vec![(8, 1), (9, 7)], false),
    ] {
        let mut keys = keys(Suite::AesGcm128);
        keys.rollovers = rollovers.clone();
        let mut inbound = Inbound::new(keys).unwrap();
        let result = inbound.rtp(&mut last.clone());
        assert_eq!(result.is_ok(), joins, "{rollovers:?}");
    }
}

// covers: B-SRTP-06, C-SRTP-14
#[test]
fn keys_that_mkis_tell_apart_stand_beside_each_other() {
    let with = |mki: u8| {
        let mut keys = keys(Suite::AesCm128Sha1_80);
        keys.masters[0].mki = vec![mki];
        keys.masters[0].key[0] = mki;
        keys
    };
    let mut old = Outbound::new(with(1)).unwrap();
    let mut inbound = Inbound::new(with(1)).unwrap();
    inbound.rtp(&mut sealed(&mut old, 1, 9)).unwrap();
    let mut new = Outbound::new(with(2)).unwrap();
    let mut packet = sealed(&mut new, 2, 9);
    assert_eq!(inbound.rtp(&mut packet.clone()), Err(Refused::UnknownKey));
    assert!(inbound.rekey(with(2)));
    inbound.rtp(&mut packet).unwrap();
    inbound.rtp(&mut sealed(&mut old, 3, 9)).unwrap();
    // What was received stays received under any key.
    let mut again = Outbound::new(with(2)).unwrap();
    let mut packet = sealed(&mut again, 2, 9);
    assert_eq!(inbound.rtp(&mut packet), Err(Refused::Replay));
    assert!(inbound.remove(&[1]));
    let mut packet = sealed(&mut old, 4, 9);
    assert_eq!(inbound.rtp(&mut packet), Err(Refused::UnknownKey));
    for mki in 3..=200 {
        assert!(inbound.rekey(with(mki)));
    }
    let mut packet = sealed(&mut new, 5, 9);
    assert_eq!(inbound.rtp(&mut packet), Err(Refused::UnknownKey));
}

// covers: B-SRTP-09
#[test]
fn a_key_ends_with_its_lifetime_and_says_so_before() {
    let mut keys = keys(Suite::AesCm128Sha1_80);
    keys.masters[0].lifetime = Some((1 << 16) + 2);
    let mut outbound = Outbound::new(keys.clone()).unwrap();
    let mut inbound = Inbound::new(keys).unwrap();
    let mut limits = Vec::new();
    for n in 0..=(1u32 << 16) + 1 {
        inbound
            .rtp(&mut sealed(&mut outbound, n as u16, 9))
            .unwrap();
        limits.extend(inbound.take_limit().map(|limit| (n, limit)));
    }
    let end = (1 << 16) + 1;
    assert_eq!(limits, [(1, Limit::Soft), (end, Limit::Hard)]);
    assert_eq!(outbound.rtp(&mut rtp(9, 9)), Err(Refused::Expired));
    let mut fresh = Outbound::new(super::tests::keys(Suite::AesCm128Sha1_80)).unwrap();
    let mut packet = sealed(&mut fresh, 3, 8);
    assert_eq!(inbound.rtp(&mut packet), Err(Refused::Expired));
    assert_eq!(inbound.stats().expired, 1);
}

// covers: P-SRTP-17
#[test]
fn no_number_is_used_twice_under_one_key() {
    let mut outbound = Outbound::new(keys(Suite::AesCm128Sha1_80)).unwrap();
    sealed(&mut outbound, 7, 9);
    sealed(&mut outbound, 8, 9);
    assert_eq!(outbound.rtp(&mut rtp(7, 9)), Err(Refused::Replay));
    let refused = (0..1000).find(|ssrc| outbound.rtp(&mut rtp(7, *ssrc + 10)).is_err());
    assert_eq!(refused, Some(limits_of_sources() - 1));
}

fn limits_of_sources() -> u32 {
    crate::rtsp::limits::SRTP_OWN_SOURCES as u32
}

#[test]
fn a_key_shows_nowhere() {
    let keys = keys(Suite::AesCm128Sha1_80);
    let text = format!("{keys:?}");
    assert!(text.contains("MasterKey(***)"), "{text}");
    assert!(!text.contains("1, 2, 3"), "{text}");
}
