use super::*;
use crate::net::outbox::outbox;

fn lane() -> Lane {
    let lane = Lane::new(Duration::from_secs(1), Arc::default());
    lane.describe(
        Encoding::H264,
        sender::Config {
            clock_rate: 90_000,
            ..sender::Config::default()
        },
        1,
    );
    lane
}

/// A packet of a frame; the first octet of its payload is the NAL unit's header.
fn push(lane: &Lane, sequence: u16, timestamp: u32, unit: u8) {
    push_sized(lane, sequence, timestamp, unit, 16);
}

fn push_sized(lane: &Lane, sequence: u16, timestamp: u32, unit: u8, size: usize) {
    let mut data = vec![0x80, 96];
    data.extend(sequence.to_be_bytes());
    data.extend(timestamp.to_be_bytes());
    data.extend([0, 0, 0, 7, unit, 1, 2, 3]);
    data.resize(size, 0);
    let buffer = gst::Buffer::from_mut_slice(data);
    lane.push([RtpPacket {
        buffer: &buffer,
        running_time: None,
    }])
    .unwrap();
}

/// Sequence numbers of what leaves now.
fn taken(lane: &Lane) -> Vec<u16> {
    let mut frames = Vec::new();
    lane.take_frames(100, Instant::now(), &mut |frame| frames.push(frame));
    let sequence = |frame: &Frame| {
        let bytes = frame.to_bytes();
        u16::from_be_bytes([bytes[6], bytes[7]])
    };
    frames.iter().map(sequence).collect()
}

fn connect(lane: &Lane) -> crate::net::outbox::Outbox {
    let (outbox, _) = outbox();
    let pump = outbox.carry(Arc::new(super::super::tcp::Interleaved::default()));
    lane.connect(Outlet::Tcp { pump, channel: 0 }, None);
    outbox
}

// covers: P-PUB-07
#[test]
fn nothing_leaves_before_the_server_records() {
    gst::init().unwrap();
    let lane = lane();
    push(&lane, 1, 0, 0x65);
    let _outbox = connect(&lane);
    assert!(taken(&lane).is_empty());
    lane.open();
    push(&lane, 2, 0, 0x65);
    assert_eq!(taken(&lane), [1, 2]);
    assert!(lane.take_facts().started, "a report is due");
}

#[test]
fn after_a_loss_it_goes_on_with_the_parameter_sets_even_behind_a_delimiter() {
    gst::init().unwrap();
    let lane = lane();
    let _outbox = connect(&lane);
    lane.open();
    push(&lane, 0, 0, 0x65);
    push(&lane, 1, 1500, 0x41);
    lane.disconnect(true);
    push(&lane, 2, 3000, 0x41);
    let _outbox = connect(&lane);
    lane.open();
    assert!(lane.take_facts().key_unit, "a key frame is asked for");
    for (sequence, timestamp, unit) in [
        (3, 6000, 0x41),
        (4, 9000, 0x09),
        (5, 9000, 0x67),
        (6, 9000, 0x68),
        (7, 9000, 0x65),
        (8, 9000, 0x65),
        (9, 12_000, 0x41),
    ] {
        push(&lane, sequence, timestamp, unit);
    }
    assert_eq!(taken(&lane), [5, 6, 7, 8, 9]);
    let stats = lane.stats();
    assert_eq!((stats.lost, stats.invalid), (3, 0));
}

// covers: P-PUB-14
#[test]
fn what_is_dropped_leaves_no_gap_in_the_sequence_numbers() {
    gst::init().unwrap();
    let lane = lane();
    let _outbox = connect(&lane);
    lane.open();
    push(&lane, 1, 0, 0x65);
    push(&lane, 2, 3000, 0x41);
    assert_eq!(taken(&lane), [1, 2]);
    lane.disconnect(true);
    push(&lane, 3, 6000, 0x41);
    let _outbox = connect(&lane);
    lane.open();
    push(&lane, 4, 9000, 0x41);
    push(&lane, 5, 12_000, 0x65);
    push(&lane, 6, 15_000, 0x41);
    assert_eq!(taken(&lane), [3, 4]);
}

#[test]
fn before_the_first_record_a_failed_attempt_loses_nothing() {
    gst::init().unwrap();
    let lane = lane();
    push(&lane, 1, 0, 0x65);
    lane.disconnect(false);
    push(&lane, 2, 3000, 0x41);
    let _outbox = connect(&lane);
    lane.open();
    assert_eq!(taken(&lane), [1, 2]);
}

#[test]
fn what_waited_for_record_leaves_over_udp_faster_than_it_came() {
    gst::init().unwrap();
    let runtimes = crate::session::runtime::runtimes().unwrap();
    let _io = runtimes.io().enter();
    let lane = Arc::new(lane());
    for sequence in 0..300u16 {
        push_sized(&lane, sequence, u32::from(sequence / 10) * 3000, 0x65, 1400);
    }
    let pair = crate::net::udp::UdpPair::bind(([127, 0, 0, 1], 0).into(), None, 20).unwrap();
    let sink = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let filter = crate::net::lock_in::SourceFilter::any;
    let path = super::super::udp::UdpPath::start(
        &runtimes,
        pair,
        sink.local_addr().unwrap(),
        &lane,
        (filter(), filter()),
        true,
    )
    .unwrap();
    lane.connect(Outlet::Udp(path.outlet.clone()), None);
    // Only the time of this test counts.
    drop(path);
    lock(&lane.state).gate = Gate::Open;
    let start = Instant::now();
    let mut run = VecDeque::new();
    for tick in 0..100 {
        lane.take_run(&mut run, start + Duration::from_millis(tick));
        run.clear();
    }
    assert!(
        lane.is_drained(),
        "{} bytes left",
        lane.stats().queued_bytes
    );
}

#[test]
fn a_packet_without_a_time_comes_when_it_comes() {
    gst::init().unwrap();
    let lane = lane();
    let mut state = lock(&lane.state);
    let now = Instant::now();
    let second = gst::ClockTime::from_seconds(1);
    assert_eq!(state.running_time(Some(second), now), 1_000_000_000);
    let later = now + Duration::from_millis(40);
    assert_eq!(state.running_time(None, later), 1_040_000_000);
}

#[test]
fn the_end_is_told_when_all_has_left() {
    gst::init().unwrap();
    let lane = lane();
    let _outbox = connect(&lane);
    lane.open();
    push(&lane, 1, 0, 0x65);
    lane.end();
    assert!(!lane.take_facts().ended);
    assert_eq!(taken(&lane), [1]);
    assert!(lane.take_facts().ended);
}

#[test]
fn what_is_no_rtp_is_counted_and_dropped() {
    gst::init().unwrap();
    let lane = lane();
    for data in [vec![], vec![0; 11], vec![0; 70_000]] {
        let buffer = gst::Buffer::from_mut_slice(data);
        let packet = RtpPacket {
            buffer: &buffer,
            running_time: None,
        };
        lane.push([packet]).unwrap();
    }
    assert_eq!(lane.stats().invalid, 3);
    assert_eq!(lane.stats().queued_bytes, 0);
    lane.close(Closed::Stopped);
    assert_eq!(lane.push([]), Err(Closed::Stopped));
}
