//! The cost of a session description: a camera's, and one as long as is accepted of attributes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gstrtsp2::rtsp::sdp::Session;

const CAMERA: &str = "v=0\r\n\
o=- 1700000000000000 1 IN IP4 192.168.1.64\r\n\
s=Media Presentation\r\n\
e=NONE\r\n\
b=AS:5100\r\n\
t=0 0\r\n\
a=control:rtsp://192.168.1.64/Streaming/Channels/101/\r\n\
a=range:npt=now-\r\n\
m=video 0 RTP/AVP 96\r\n\
c=IN IP4 0.0.0.0\r\n\
b=AS:5000\r\n\
a=recvonly\r\n\
a=x-dimensions:1920,1080\r\n\
a=control:rtsp://192.168.1.64/Streaming/Channels/101/trackID=1\r\n\
a=rtpmap:96 H264/90000\r\n\
a=fmtp:96 profile-level-id=4d0029; packetization-mode=1; sprop-parameter-sets=Z00AKY2NQDwBE/LgLcBAQFAAAD6AAAw1DoYACYFAABfXgu8uNDABMCgAAvrwXeXCgA==,aO44gA==\r\n\
m=audio 0 RTP/AVP 104\r\n\
c=IN IP4 0.0.0.0\r\n\
b=AS:50\r\n\
a=recvonly\r\n\
a=control:rtsp://192.168.1.64/Streaming/Channels/101/trackID=2\r\n\
a=rtpmap:104 mpeg4-generic/16000/1\r\n\
a=fmtp:104 profile-level-id=15; streamtype=5; mode=AAC-hbr; config=1408; SizeLength=13; IndexLength=3; IndexDeltaLength=3\r\n\
m=application 0 RTP/AVP 107\r\n\
c=IN IP4 0.0.0.0\r\n\
a=control:rtsp://192.168.1.64/Streaming/Channels/101/trackID=3\r\n\
a=rtpmap:107 vnd.onvif.metadata/90000\r\n";

fn sdp(c: &mut Criterion) {
    let mut long = CAMERA.to_owned();
    for i in 0..100 {
        long += &format!("a=x-vendor-{i}:some value that nobody reads\r\n");
    }
    let mut group = c.benchmark_group("sdp");
    for (name, text) in [("camera", CAMERA), ("many attributes", &long)] {
        let session = Session::parse(text.as_bytes()).expect("a valid description");
        assert_eq!(session.media.len(), 3);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| Session::parse(black_box(text.as_bytes())))
        });
    }
    group.finish();
}

criterion_group!(benches, sdp);
criterion_main!(benches);
