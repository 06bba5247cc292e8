use super::*;
use proptest::prelude::*;

const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];
const CNAME: &str = "q0dD0Nq1dYmVb0dy";

fn all(data: &[u8]) -> (Vec<Rtcp<'_>>, Option<Flaw>) {
    let mut compound = parse(data);
    let packets = compound.by_ref().collect();
    (packets, compound.flaw())
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// SDES of one chunk: source 7, CNAME "camera", and how it ends.
fn sdes(words: u16, end: &[u8]) -> Vec<u8> {
    let mut data = vec![0x81, 202];
    data.extend(words.to_be_bytes());
    data.extend([0, 0, 0, 7, 1, 6]);
    data.extend(b"camera");
    data.extend(end);
    data
}

fn sr() -> Vec<u8> {
    let block = ReportBlock {
        ssrc: 1,
        cumulative_lost: -2,
        fraction_lost: 3,
        ..Default::default()
    };
    let info = SenderInfo {
        ntp: 0x1_0000_0002,
        rtp: 5,
        packets: 6,
        octets: 7,
    };
    Report {
        ssrc: 7,
        sender: Some(info),
        blocks: &[block],
        cname: CNAME,
        ..Default::default()
    }
    .write()
}

// covers: B-RTCP-03
#[test]
fn every_packet_of_a_compound_is_read() {
    let feedback = [
        Feedback::Pli,
        Feedback::Fir { seq: 200 },
        Feedback::Nack(vec![5, 6, 30]),
    ];
    let report = Report {
        ssrc: 7,
        cname: CNAME,
        media_ssrc: 8,
        feedback: &feedback,
        bye: true,
        ..Default::default()
    };
    let data = report.write();
    let (packets, flaw) = all(&data);
    assert_eq!(flaw, None);
    let [
        Rtcp::ReceiverReport { ssrc: 7, blocks },
        Rtcp::Cname { ssrc: 7, cname },
        Rtcp::Pli {
            ssrc: 7,
            media_ssrc: 8,
        },
        Rtcp::Fir { ssrc: 7, entries },
        Rtcp::Nack {
            ssrc: 7,
            media_ssrc: 8,
            seqs,
        },
        Rtcp::Bye { ssrcs },
    ] = &packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(blocks.iter().count(), 0);
    assert_eq!(*cname, CNAME.as_bytes());
    assert_eq!(entries.iter().collect::<Vec<_>>(), [(8, 200)]);
    assert_eq!(seqs.iter().collect::<Vec<_>>(), [5, 6, 30]);
    assert_eq!(ssrcs.iter().collect::<Vec<_>>(), [7]);
}

// covers: B-RTCP-03, B-RTCP-08
#[test]
fn sender_report_fields_and_the_sign_of_the_loss_are_kept() {
    let data = sr();
    let (packets, flaw) = all(&data);
    assert_eq!(flaw, None);
    let Rtcp::SenderReport {
        ssrc: 7,
        info,
        blocks,
    } = &packets[0]
    else {
        panic!("{packets:?}");
    };
    let expected = SenderInfo {
        ntp: 0x1_0000_0002,
        rtp: 5,
        packets: 6,
        octets: 7,
    };
    assert_eq!(*info, expected);
    let block = blocks.iter().next().unwrap();
    assert_eq!(
        (block.ssrc, block.cumulative_lost, block.fraction_lost),
        (1, -2, 3)
    );
}

// covers: B-RTCP-08
#[test]
fn cumulative_loss_is_clamped_to_24_bits() {
    for (lost, sent) in [
        (i32::MAX, 0x7f_ffff),
        (i32::MIN, -0x80_0000),
        (-1, -1),
        (9, 9),
    ] {
        let block = ReportBlock {
            cumulative_lost: lost,
            ..Default::default()
        };
        let data = Report {
            cname: CNAME,
            blocks: &[block],
            ..Default::default()
        }
        .write();
        let (packets, _) = all(&data);
        let Rtcp::ReceiverReport { blocks, .. } = packets[0] else {
            panic!()
        };
        assert_eq!(blocks.iter().next().unwrap().cumulative_lost, sent);
    }
}

// covers: B-RTCP-04
#[test]
fn a_report_is_compound_with_rr_first_then_cname_and_has_at_most_31_blocks() {
    for n in [0usize, 1, 31, 32, 100] {
        let blocks = vec![ReportBlock::default(); n];
        let data = Report {
            ssrc: 3,
            blocks: &blocks,
            cname: CNAME,
            ..Default::default()
        }
        .write();
        assert_eq!(data[1], 201);
        assert_eq!(usize::from(data[0] & 0x1f), n.min(31));
        assert_eq!(data.len() % 4, 0);
        let (packets, flaw) = all(&data);
        assert_eq!(flaw, None);
        assert!(matches!(
            packets[..],
            [Rtcp::ReceiverReport { .. }, Rtcp::Cname { ssrc: 3, .. }]
        ));
        // A second opinion on the wire format.
        assert!(
            rtcp_types::Compound::parse(&data)
                .unwrap()
                .all(|p| p.is_ok())
        );
    }
}

// covers: B-FB-03
#[test]
fn nack_packs_pid_and_bitmask() {
    let cases: [(&[u16], &[[u8; 4]]); 5] = [
        (&[100], &[[0, 100, 0, 0]]),
        (&[100, 101, 116], &[[0, 100, 0x80, 0x01]]),
        (&[100, 117], &[[0, 100, 0, 0], [0, 117, 0, 0]]),
        (&[101, 100, 101], &[[0, 100, 0, 1]]),
        (&[0, 0xffff], &[[0, 0, 0, 0], [0xff, 0xff, 0, 0]]),
    ];
    for (seqs, fci) in cases {
        let feedback = [Feedback::Nack(seqs.to_vec())];
        let report = Report {
            ssrc: 1,
            media_ssrc: 2,
            feedback: &feedback,
            ..Default::default()
        };
        let head = [0x81, 205, 0, 2 + fci.len() as u8, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(report.write_reduced(), join(&[&head, &fci.concat()]));
    }
}

// covers: B-FB-03, B-FB-04
#[test]
fn pli_has_no_fci_and_fir_no_media_source() {
    let feedback = [Feedback::Pli];
    let report = Report {
        ssrc: 1,
        media_ssrc: 2,
        feedback: &feedback,
        ..Default::default()
    };
    assert_eq!(
        report.write_reduced(),
        [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]
    );
    let feedback = [Feedback::Fir { seq: 9 }];
    let report = Report {
        feedback: &feedback,
        ..report
    };
    let fir = [
        0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 0, 0, 0,
    ];
    assert_eq!(report.write_reduced(), fir);
}

// covers: B-FB-05
#[test]
fn reduced_size_is_tolerated() {
    let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    let (packets, flaw) = all(&pli);
    assert_eq!(
        packets,
        [Rtcp::Pli {
            ssrc: 1,
            media_ssrc: 2
        }]
    );
    assert_eq!(flaw, Some(Flaw::FirstType));
}

// covers: B-RTCP-03, H-35
#[test]
fn sdes_without_end_byte_gives_its_cname() {
    let cname = Rtcp::Cname {
        ssrc: 7,
        cname: b"camera",
    };
    for (words, end, flaw) in [
        (4u16, &[0u8, 0, 0, 0][..], None),
        (3, &[], Some(Flaw::Sdes)),                 // no end at all
        (4, &[0, 0], Some(Flaw::Length)),           // promised, but cut off
        (4, &[2, 9, b'x', b'x'], Some(Flaw::Sdes)), // the next item overruns
        (4, &[2, 2, b'x', b'x'], Some(Flaw::Sdes)), // an item, then no end
        (4, &[2], Some(Flaw::Length)),
    ] {
        let data = join(&[&RR, &sdes(words, end)]);
        let (packets, seen) = all(&data);
        assert_eq!(packets.len(), 2, "{end:?}");
        assert_eq!(packets[1], cname, "{end:?}");
        assert_eq!(seen, flaw, "{end:?}");
    }
}

#[test]
fn chunks_of_an_sdes_are_separated_by_their_padding() {
    let mut data = join(&[&RR, &[0x83, 202, 0, 9]]);
    data.extend([0, 0, 0, 1, 1, 1, b'a', 0]); // one null
    data.extend([0, 0, 0, 2, 2, 2, b'x', b'y', 0, 0, 0, 0]); // no CNAME, four nulls
    data.extend([0, 0, 0, 3, 2, 1, b'x', 1, 2, b'c', b'd', 0]);
    data.extend([0; 4]);
    let (packets, flaw) = all(&data);
    assert_eq!(flaw, None);
    assert_eq!(
        packets[1..],
        [
            Rtcp::Cname {
                ssrc: 1,
                cname: b"a"
            },
            Rtcp::Cname {
                ssrc: 3,
                cname: b"cd"
            }
        ]
    );
}

// covers: B-RTCP-03, H-35
#[test]
fn reading_stops_at_the_first_bad_length_and_keeps_what_came_before() {
    let rr = Rtcp::ReceiverReport {
        ssrc: 9,
        blocks: ReportBlocks(&[]),
    };
    let tails: [(&[u8], Flaw); 6] = [
        (&[0x80, 203, 0, 5, 0, 0], Flaw::Length),
        (&[0x80, 203, 0xff, 0xff], Flaw::Length),
        (&[0x80], Flaw::Length),
        (&[0x80, 200, 0], Flaw::Length),
        (&[0x40, 203, 0, 0], Flaw::Version),
        (&[0x00; 40], Flaw::Version),
    ];
    for (tail, flaw) in tails {
        let data = join(&[&RR, tail, &RR]);
        let (packets, seen) = all(&data[..8 + tail.len()]);
        assert_eq!((packets, seen), (vec![rr.clone()], Some(flaw)), "{tail:?}");
    }
}

// covers: B-FB-07, H-35
#[test]
fn a_part_that_is_too_short_for_its_count_is_ignored_alone() {
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 4];
    let bad: [&[u8]; 6] = [
        &[0x9f, 201, 0, 1, 0, 0, 0, 9], // 31 blocks that are not there
        &[0x80, 200, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0], // SR without sender info
        &[0x82, 203, 0, 1, 0, 0, 0, 9], // BYE of two, one is there
        &[0x81, 205, 0, 1, 0, 0, 0, 9], // NACK without media source
        &[0x81, 206, 0, 0],             // PLI of a header
        &[0x84, 206, 0, 1, 0, 0, 0, 9], // FIR without FCI
    ];
    for part in bad {
        let data = join(&[&RR, part, &bye]);
        let (packets, flaw) = all(&data);
        assert_eq!(packets.len(), 2, "{part:?}");
        assert!(matches!(packets[1], Rtcp::Bye { .. }));
        assert_eq!(flaw, Some(Flaw::Truncated), "{part:?}");
    }
}

// covers: B-FB-07
#[test]
fn unknown_types_are_skipped_by_their_length() {
    let parts: [&[u8]; 4] = [
        &[0x80, 204, 0, 2, 0, 0, 0, 1, b'P', b'S', b'S', b'0'],
        &[0x80, 207, 0, 1, 0, 0, 0, 1],
        &[
            0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'R', b'E', b'M', b'B',
        ],
        &[0x8f, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
    ];
    let data = join(&[&RR, &parts.concat()]);
    let (packets, flaw) = all(&data);
    let types: Vec<_> = packets[1..]
        .iter()
        .map(|p| match p {
            Rtcp::Other { packet_type } => *packet_type,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((types, flaw), (vec![204, 207, 206, 205], None));
}

// covers: B-RTCP-03, H-35
#[test]
fn wrong_padding_is_overlooked() {
    let bye = |pad: &[u8]| {
        let mut data = vec![0xa1, 203, 0, 1 + pad.len() as u8 / 4, 0, 0, 0, 4];
        data.extend(pad);
        data
    };
    for (pad, flaw) in [
        (&[0u8, 0, 0, 4][..], None),
        (&[0, 0, 0, 0], Some(Flaw::Padding)),
        (&[0, 0, 0, 3], Some(Flaw::Padding)),
        (&[0, 0, 0, 200], Some(Flaw::Padding)),
    ] {
        let data = join(&[&RR, &bye(pad)]);
        let (packets, seen) = all(&data);
        assert_eq!(
            packets[1],
            Rtcp::Bye {
                ssrcs: Ssrcs(&[[0, 0, 0, 4]])
            }
        );
        assert_eq!(seen, flaw);
    }
    let data = join(&[&RR, &bye(&[0, 0, 0, 4]), &RR]);
    let (packets, flaw) = all(&data);
    assert_eq!((packets.len(), flaw), (3, Some(Flaw::Padding)));
}

// covers: H-35
#[test]
fn a_flood_of_tiny_packets_is_cut_at_the_limit() {
    let tiny = [0x80, 204, 0, 0].repeat(limits::RTCP_PACKETS);
    assert_eq!(all(&tiny).0.len(), limits::RTCP_PACKETS);
    assert_eq!(all(&tiny).1, Some(Flaw::FirstType));
    let more = [0x80, 201, 0, 1, 0, 0, 0, 9].repeat(limits::RTCP_PACKETS + 1);
    let (packets, flaw) = all(&more);
    assert_eq!(
        (packets.len(), flaw),
        (limits::RTCP_PACKETS, Some(Flaw::TooMany))
    );
}

// covers: B-SDP-18
#[test]
fn rtcp_is_told_from_rtp_by_its_packet_type() {
    for (second, rtcp) in [
        (191u8, false),
        (192, true),
        (200, true),
        (223, true),
        (224, false),
    ] {
        assert_eq!(is_rtcp(&[0x80, second, 0, 0]), rtcp);
    }
    // Dynamic payload types, with and without marker, are RTP.
    for pt in 96..=127u8 {
        assert!(!is_rtcp(&[0x80, pt, 0, 0]) && !is_rtcp(&[0x80, pt | 0x80, 0, 0]));
    }
    assert!(!is_rtcp(&[0x40, 200, 0, 0]));
    assert!(!is_rtcp(&[0x80, 200, 0]) && !is_rtcp(&[]));
}

#[test]
fn a_cname_that_is_too_long_writes_nothing() {
    let cname = "x".repeat(256);
    assert!(
        Report {
            cname: &cname,
            ..Default::default()
        }
        .write()
        .is_empty()
    );
    assert!(
        !Report {
            cname: &cname[1..],
            ..Default::default()
        }
        .write()
        .is_empty()
    );
}

fn drain(data: &[u8]) -> usize {
    let mut n = 0;
    for rtcp in parse(data) {
        n += match rtcp {
            Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. } => {
                blocks.iter().count()
            }
            Rtcp::Bye { ssrcs } => ssrcs.iter().count(),
            Rtcp::Nack { seqs, .. } => seqs.iter().count(),
            Rtcp::Fir { entries, .. } => entries.iter().count(),
            Rtcp::Cname { cname, .. } => cname.len(),
            Rtcp::Pli { .. } | Rtcp::Other { .. } => 1,
        };
    }
    n
}

proptest! {
    // covers: H-35
    #[test]
    fn no_panic_on_arbitrary_bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        drain(&data);
        is_rtcp(&data);
    }

    // covers: H-35
    #[test]
    fn no_panic_on_damaged_compounds(
        at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut data = join(&[&sr(), &sdes(4, &[0; 4]), &[0x81, 203, 0, 1, 0, 0, 0, 4]]);
        for (at, value) in at {
            let at = at.index(data.len());
            data[at] = value;
        }
        drain(&data[..cut.index(data.len() + 1)]);
    }

    // covers: B-FB-03
    #[test]
    fn nack_says_what_it_was_told(mut seqs in proptest::collection::vec(any::<u16>(), 1..60)) {
        let feedback = [Feedback::Nack(seqs.clone())];
        let data = Report { feedback: &feedback, ..Default::default() }.write_reduced();
        let (packets, _) = all(&data);
        let Rtcp::Nack { seqs: read, .. } = packets[0] else { panic!() };
        let mut read: Vec<_> = read.iter().collect();
        seqs.sort();
        seqs.dedup();
        read.sort();
        prop_assert_eq!(read, seqs);
    }
}
