//! Requests of the server are answered while media flows.

use crate::support::mini::{Mini, Script};
use crate::support::player::Player;

// covers: C-SREQ-01, C-SREQ-02, C-SREQ-03, C-SREQ-09, C-IL-06
#[test]
fn each_request_of_the_server_is_answered_with_its_cseq() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    for (count, (method, status)) in [
        ("OPTIONS", 200),
        ("GET_PARAMETER", 200),
        ("SET_PARAMETER", 200),
        ("ANNOUNCE", 501),
        ("MAKE_COFFEE", 501),
    ]
    .into_iter()
    .enumerate()
    {
        let cseq = 70_000 + count as u32;
        mini.ask(method, cseq);
        let responses = mini.responses(count + 1);
        let response = &responses[count];
        assert_eq!(response.status, status, "{method}");
        assert_eq!(
            response.header("CSeq"),
            Some(cseq.to_string().as_str()),
            "{method}"
        );
    }
    assert!(mini.responses(1)[0].header("Public").is_some());
    player.flows("stream_0", 10);
    player.has_no_error();
    player.log(|log| {
        assert!(log.told("rtspsrc2-connection-lost").is_empty());
        // Not one packet was lost beside them.
        let packets = log.packets("stream_0");
        assert!(
            packets
                .windows(2)
                .all(|p| p[1].seq == p[0].seq.wrapping_add(1))
        );
    });
}

// covers: C-SREQ-05
#[test]
fn a_redirect_of_the_server_is_followed_on_the_same_pad() {
    let (old, new) = (Mini::new(Script::default()), Mini::new(Script::default()));
    let player = Player::new(&old.url()).play();
    player.flows("stream_0", 10);
    old.ask_with("REDIRECT", 1, &format!("Location: {}\r\n", new.url()));
    new.wait_for("PLAY", 1);
    player.flows("stream_0", 10);
    assert_eq!(old.responses(1)[0].status, 200);
    old.wait_for("TEARDOWN", 1);
    player.has_no_error();
    player.log(|log| assert_eq!(log.pads.len(), 1));
}
