use super::*;
use tokio::io::AsyncReadExt;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { timeout(Duration::from_secs(10), future).await.unwrap() })
}

fn drain(queue: &mut Queue) -> Vec<Bytes> {
    std::iter::from_fn(|| queue.take().inspect(|m| queue.written(m.len()))).collect()
}

#[test]
fn of_each_stream_only_the_newest_report_is_kept() {
    let mut queue = Queue::default();
    for (message, kind) in [
        ("rr0", Kind::Report { stream: 0 }),
        ("req", Kind::Request),
        ("rr1", Kind::Report { stream: 1 }),
        ("RR0", Kind::Report { stream: 0 }),
        ("res", Kind::Response),
        ("req", Kind::Request),
    ] {
        queue.push(Bytes::from(message), kind).unwrap();
    }
    assert_eq!(queue.bytes, 15);
    assert_eq!(drain(&mut queue), ["RR0", "req", "rr1", "res", "req"]);
    assert_eq!(queue.bytes, 0);
}

#[test]
fn a_report_that_is_being_written_is_not_replaced() {
    let mut queue = Queue::default();
    let kind = Kind::Report { stream: 0 };
    queue.push(Bytes::from("old"), kind).unwrap();
    assert_eq!(queue.take().unwrap(), "old");
    queue.push(Bytes::from("new"), kind).unwrap();
    assert_eq!(queue.bytes, 6);
    assert_eq!(queue.take().unwrap(), "new");
}

#[test]
fn over_the_bound_requests_are_an_error_and_reports_are_dropped() {
    let mut queue = Queue::default();
    let byte = Bytes::from_static(b"x");
    queue
        .push(Bytes::from(vec![0; limits::OUTBOX - 1]), Kind::Request)
        .unwrap();
    queue
        .push(byte.clone(), Kind::Report { stream: 0 })
        .unwrap();
    queue
        .push(byte.clone(), Kind::Report { stream: 1 })
        .unwrap();
    assert_eq!(queue.messages.len(), 2, "the second report was dropped");
    queue.push(byte.clone(), Kind::Response).unwrap();
    assert_eq!(
        (queue.messages.len(), queue.bytes),
        (2, limits::OUTBOX),
        "in place of a report"
    );
    assert_eq!(queue.push(byte, Kind::Request), Err(Lost));
    // What is being written still counts.
    let first = queue.take().unwrap();
    assert_eq!(queue.push(first.slice(..1), Kind::Request), Err(Lost));
    queue.written(1);
    queue.push(first.slice(..1), Kind::Request).unwrap();
}

#[test]
fn one_message_may_be_larger_than_the_queue() {
    let mut queue = Queue::default();
    queue
        .push(Bytes::from(vec![0; limits::OUTBOX + 1]), Kind::Request)
        .unwrap();
    assert_eq!(queue.push(Bytes::from("x"), Kind::Request), Err(Lost));
}

#[test]
fn messages_arrive_whole_and_in_order_through_a_narrow_pipe() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let (outbox, writer) = outbox();
        let task = tokio::spawn(writer.run(ours));
        let mut expected = Vec::new();
        for i in 0u8..100 {
            let message = vec![i; usize::from(i) + 1];
            expected.extend_from_slice(&message);
            outbox.send(message, Kind::Request).unwrap();
        }
        outbox.close();
        assert_eq!(outbox.send("late", Kind::Request), Err(Lost));
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, expected);
        task.await.unwrap().unwrap();
    });
}

#[test]
fn a_dropped_outbox_is_written_out_first() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let (outbox, writer) = outbox();
        outbox.send("TEARDOWN", Kind::Request).unwrap();
        drop(outbox);
        writer.run(ours).await.unwrap();
        let mut got = String::new();
        theirs.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "TEARDOWN");
    });
}

#[test]
fn a_broken_connection_is_told_to_the_sender() {
    block_on(async {
        let (ours, theirs) = tokio::io::duplex(8);
        drop(theirs);
        let (outbox, writer) = outbox();
        outbox.send("x", Kind::Request).unwrap();
        assert!(writer.run(ours).await.is_err());
        assert_eq!(outbox.send("y", Kind::Request), Err(Lost));
    });
}

#[test]
fn a_peer_that_reads_nothing_is_lost() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let (outbox, mut writer) = outbox();
        writer.stall = Duration::from_millis(20);
        outbox.send("0123456789", Kind::Request).unwrap();
        let error = writer.run(ours).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(outbox.send("x", Kind::Request), Err(Lost));
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"01234567");
    });
}

#[test]
fn an_overfull_outbox_ends_the_writer() {
    block_on(async {
        let (ours, _theirs) = tokio::io::duplex(8);
        let (outbox, writer) = outbox();
        let half = vec![0; limits::OUTBOX / 2];
        outbox.send(half.clone(), Kind::Request).unwrap();
        outbox.send(half, Kind::Request).unwrap();
        assert_eq!(outbox.send("x", Kind::Request), Err(Lost));
        assert_eq!(outbox.send("x", Kind::Report { stream: 0 }), Err(Lost));
        assert!(writer.run(ours).await.is_err());
    });
}

/// Frames of one channel, numbered in their first octet.
struct Numbered(Mutex<Vec<u8>>);

impl Frames for Numbered {
    fn take(&self, room: usize, frame: &mut dyn FnMut(Frame)) {
        let mut left = self.0.lock().unwrap();
        let room = room.min(left.len());
        for number in left.drain(..room) {
            frame(Frame::new(2, vec![number; 100].into()).unwrap());
        }
    }
}

// covers: P-PUB-14
#[test]
fn messages_go_between_frames_and_wait_for_one_batch_at_most() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (outbox, writer) = outbox();
        let source = Arc::new(Numbered(Mutex::new((0..100).collect())));
        let pump = outbox.carry(source.clone());
        tokio::spawn(writer.run(ours));
        pump.run();
        let mut got = vec![0; 64];
        theirs.read_exact(&mut got).await.unwrap();
        let before = source.0.lock().unwrap().len();
        outbox.send("TEARDOWN", Kind::Request).unwrap();
        let mut rest = vec![0; 100 * 104 + 8 - 64];
        theirs.read_exact(&mut rest).await.unwrap();
        got.extend(rest);
        let message = got.windows(8).position(|w| w == b"TEARDOWN").unwrap();
        assert_eq!(message % 104, 0, "not inside a frame");
        assert!(before > 0 && message / 104 <= 100 - before + BATCH);
        got.drain(message..message + 8);
        for (number, frame) in got.chunks(104).enumerate() {
            assert_eq!(frame[..5], [b'$', 2, 0, 100, number as u8]);
        }
    });
}

// covers: P-PUB-14
#[test]
fn a_slow_socket_gets_few_frames_at_a_time_until_the_source_has_no_more() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (outbox, writer) = outbox();
        let source = Arc::new(Numbered(Mutex::new((0..100).collect())));
        let pump = outbox.carry(source.clone());
        tokio::spawn(writer.run(ours));
        pump.run();
        let read = BATCH + 1;
        theirs.read_exact(&mut vec![0; read * 104]).await.unwrap();
        let taken = 100 - source.0.lock().unwrap().len();
        assert!(
            taken <= read + SLOW_BATCH + 1,
            "{taken} of which {read} are read"
        );
    });
}

#[test]
fn who_brings_media_writes_it_without_the_task() {
    block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let (outbox, writer) = outbox();
        let source = Arc::new(Numbered(Mutex::new(Vec::new())));
        let pump = outbox.carry(source.clone());
        tokio::spawn(writer.run(ours));
        // Until the task waits, it is the only one that runs.
        tokio::task::yield_now().await;
        source.0.lock().unwrap().push(7);
        pump.run();
        assert!(source.0.lock().unwrap().is_empty(), "written right here");
        let mut got = vec![0; 104];
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(got[4], 7);
    });
}

#[test]
fn a_frame_is_at_most_what_its_length_can_say() {
    assert!(Frame::new(0, vec![0; 65_535].into()).is_some());
    assert!(Frame::new(0, vec![0; 65_536].into()).is_none());
}
