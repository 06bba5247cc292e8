use super::*;

#[test]
fn media_is_a_list_of_kinds() {
    assert!(parse_media("all").is_empty());
    assert!(parse_media("").is_empty());
    assert_eq!(parse_media("Video, audio"), ["video", "audio"]);
}

#[test]
fn a_short_header_says_neither_user_agent_nor_block_size() {
    gst::init().unwrap();
    let mut settings = Settings::default();
    settings.common.set_location(Some("rtsp://h/")).unwrap();
    settings.set("rtp-blocksize", &1000u32.to_value()).unwrap();
    let config = settings.config().unwrap();
    assert!(!config.server.user_agent.is_empty());
    assert_eq!(config.blocksize, 1000);
    settings.set("short-header", &true.to_value()).unwrap();
    let config = settings.config().unwrap();
    assert_eq!(
        (config.server.user_agent.as_str(), config.blocksize),
        ("", 0)
    );
}

#[test]
fn sdes_items_are_those_of_rfc_3550_that_fit() {
    gst::init().unwrap();
    let sdes = gst::Structure::builder("application/x-rtp-source-sdes")
        .field("tool", "t")
        .field("cname", "me@here")
        .field("note", "x".repeat(256))
        .field("phone", 7)
        .field("unheard-of", "y")
        .build();
    let items = sdes_items(Some(&sdes));
    assert_eq!(items, [(1, "me@here".to_string()), (6, "t".to_string())]);
    assert!(sdes_items(None).is_empty());
}

#[test]
fn what_a_session_adopts_may_be_set_while_playing() {
    gst::init().unwrap();
    let common = settings::properties().len();
    for property in PROPERTIES.iter().skip(common) {
        let at_once = [
            "add-reference-timestamp-meta",
            "buffer-lists",
            "latency",
            "max-ts-offset",
            "ntp-sync",
            "ntp-time-source",
        ];
        let name = property.name();
        let expected = ADOPTED.contains(&name) || at_once.contains(&name);
        let flags = property.flags();
        let says = flags.bits() & gst::PARAM_FLAG_MUTABLE_PLAYING.bits() != 0;
        assert_eq!(says, expected, "{name}");
    }
}
