use super::*;
use proptest::prelude::*;

fn response(head: &str) -> Response {
    match parse_head(head.as_bytes()).unwrap().message {
        Message::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn request(head: &str) -> Request {
    match parse_head(head.as_bytes()).unwrap().message {
        Message::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn status_line_reason_is_optional_and_any_bytes() {
    // covers: C-MSG-06
    for (line, reason) in [
        ("RTSP/1.0 200 OK", "OK"),
        ("RTSP/1.0 200 ", ""),
        ("RTSP/1.0 200", ""),
        ("RTSP/1.0 200OK", "OK"),
        ("RTSP/1.0  200  All  good ", "All  good"),
    ] {
        let response = response(&format!("{line}\r\n\r\n"));
        assert_eq!(
            (response.status, response.reason.as_str()),
            (200, reason),
            "{line}"
        );
    }
    let head = parse_head(b"RTSP/1.0 404 Nicht verf\xfcgbar\x01\r\n\r\n").unwrap();
    let Message::Response(response) = head.message else {
        panic!()
    };
    assert_eq!(response.reason, "Nicht verf\u{fffd}gbar\u{1}");
}

#[test]
fn malformed_start_lines_are_refused() {
    for line in [
        "",
        " ",
        "RTSP/1.0",
        "RTSP/1.0 20",
        "RTSP/1.0 2000",
        "RTSP/1.0 099 x",
        "RTSP/1 200 OK",
        "RTSP/.0 200 OK",
        "RTSP/1. 200",
        "RTSP/+1.0 200 OK",
        "HTTP/1.1 200 OK",
        "220 smtp ready",
        "OPTIONS RTSP/1.0",
        "OPTIONS * HTTP/1.1",
        "OPT(ONS * RTSP/1.0",
        "<html> x RTSP/1.0",
    ] {
        let error = parse_head(line.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ParseError::StartLine(_)),
            "{line:?} {error:?}"
        );
    }
}

#[test]
fn version_is_two_integers_and_only_1_and_2_are_spoken() {
    // covers: B-MSG-07
    for (text, version) in [
        ("RTSP/1.0", Version::V1_0),
        ("rtsp/1.1", Version::V1_0),
        ("Rtsp/01.00", Version::V1_0),
        ("RTSP/1.99999999999999999999", Version::V1_0),
        ("RTSP/2.0", Version::V2_0),
        ("RTSP/002.7", Version::V2_0),
    ] {
        assert_eq!(
            response(&format!("{text} 200 OK\n\n")).version,
            version,
            "{text}"
        );
        assert_eq!(
            request(&format!("OPTIONS * {text}\n\n")).version,
            version,
            "{text}"
        );
    }
    for text in [
        "RTSP/3.0",
        "RTSP/0.9",
        "RTSP/10.0",
        "RTSP/99999999999999999999999.0",
    ] {
        for line in [
            format!("{text} 200 OK\n\n"),
            format!("OPTIONS * {text}\n\n"),
        ] {
            let error = parse_head(line.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ParseError::Version(_)),
                "{line:?} {error:?}"
            );
        }
    }
}

#[test]
fn methods_compare_with_case_and_header_names_without() {
    // covers: B-MSG-08
    assert_eq!(request("PLAY rtsp://h/a RTSP/1.0\n\n").method, Method::Play);
    assert_eq!(
        request("Play rtsp://h/a RTSP/1.0\n\n").method,
        Method::Extension("Play".into())
    );
    let response = response("RTSP/1.0 200 OK\r\nCseq: 7\r\nSESSION: x\r\n\r\n");
    assert_eq!(cseq(&response.headers), Some(7));
    assert_eq!(response.headers.get("session"), Some(&b"x"[..]));
}

#[test]
fn blanks_around_colon_and_at_line_ends_are_not_part_of_name_or_value() {
    // covers: B-MSG-09
    for line in [
        "CSeq: 1",
        "CSeq : 1",
        "CSeq:1",
        "CSeq:\t1 ",
        "CSeq \t:  1\t\t",
    ] {
        let headers = response(&format!("RTSP/1.0 200 OK\r\n{line}\r\n\r\n")).headers;
        assert_eq!(
            headers.iter().collect::<Vec<_>>(),
            [("CSeq", &b"1"[..])],
            "{line:?}"
        );
    }
}

#[test]
fn every_line_end_is_accepted_also_mixed() {
    // covers: B-MSG-02
    for head in [
        "RTSP/1.0 200 OK\r\nA: 1\r\nB: 2\r\n\r\n",
        "RTSP/1.0 200 OK\nA: 1\nB: 2\n\n",
        "RTSP/1.0 200 OK\rA: 1\rB: 2\r\r",
        "RTSP/1.0 200 OK\rA: 1\r\nB: 2\n\r",
    ] {
        let headers = response(head).headers;
        assert_eq!(
            headers.iter().collect::<Vec<_>>(),
            [("A", &b"1"[..]), ("B", &b"2"[..])],
            "{head:?}"
        );
    }
}

#[test]
fn folded_lines_are_joined_with_one_space() {
    // covers: B-MSG-10
    let head = parse_head(
        b"RTSP/1.0 200 OK\r\n stray\r\nTransport: RTP/AVP;\r\n \t unicast;\r\n\tclient_port=1-2 \r\n \r\n\
          no colon\r\n of the dropped line\r\nCSeq: 3\r\n\r\n",
    )
    .unwrap();
    let headers = head.message.headers();
    assert_eq!(
        headers.get("Transport"),
        Some(&b"RTP/AVP; unicast; client_port=1-2"[..])
    );
    assert_eq!(headers.get("CSeq"), Some(&b"3"[..]));
    assert_eq!((headers.len(), head.dropped_lines), (2, 3));
}

#[test]
fn repeated_headers_keep_their_order_and_the_first_is_the_single_value() {
    // covers: B-MSG-11
    let headers =
        response("RTSP/1.0 200 OK\nPublic: A, B\nSession: 1\nPUBLIC: C\nSession: 2\n\n").headers;
    let list = headers.joined("Public").unwrap();
    assert_eq!(split_list(&list).collect::<Vec<_>>(), ["A", "B", "C"]);
    assert_eq!(headers.get("Session"), Some(&b"1"[..]));
}

#[test]
fn unknown_and_broken_header_lines_do_not_harm_the_message() {
    // covers: B-MSG-12 B-MSG-13 B-MSG-14 H-07
    let head = parse_head(
        b"RTSP/1.0 200 OK\r\nX-Odd: \x00\xff\xfe caf\xe9\r\nno colon here\r\n: empty\r\n \r\nCSeq: 4\r\n\r\n",
    )
    .unwrap();
    assert_eq!(
        head.message.headers().get("X-Odd"),
        Some(&b"\x00\xff\xfe caf\xe9"[..])
    );
    assert_eq!(cseq(head.message.headers()), Some(4));
    assert_eq!(head.dropped_lines, 3);
}

#[test]
fn body_length_comes_only_from_content_length() {
    // covers: B-MSG-15 B-MSG-17 H-03
    let length = |lines: &str| {
        parse_head(format!("RTSP/1.0 200 OK\r\n{lines}\r\n").as_bytes()).map(|head| head.body_len)
    };
    assert_eq!(length(""), Ok(0));
    assert_eq!(length("Transfer-Encoding: chunked\r\n"), Ok(0));
    assert_eq!(length("Content-Length: 5\r\n"), Ok(5));
    assert_eq!(length("content-length : 005 \r\n"), Ok(5));
    assert_eq!(length("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(5));
    assert_eq!(
        length(&format!("Content-Length: {}\r\n", limits::BODY)),
        Ok(limits::BODY)
    );
    let past = limits::BODY as u64 + 1;
    assert_eq!(
        length(&format!("Content-Length: {past}\r\n")),
        Err(ParseError::BodyTooLarge(past))
    );
    for bad in [
        "18446744073709551616",
        "-1",
        "+5",
        "0x10",
        "5 5",
        "5,5",
        "",
        "5a",
        "00000000000000000001",
    ] {
        let error = length(&format!("Content-Length: {bad}\r\n")).unwrap_err();
        assert!(matches!(error, ParseError::ContentLength(_)), "{bad}");
    }
    assert_eq!(
        length("Content-Length: 999999999999\r\n"),
        Err(ParseError::BodyTooLarge(999999999999))
    );
    let error = length("Content-Length: 5\r\nContent-Length: 6\r\n").unwrap_err();
    assert!(matches!(error, ParseError::ConflictingContentLength(_)));
}

#[test]
fn responses_1xx_204_304_end_at_the_empty_line() {
    // covers: B-MSG-16
    for (status, body_len) in [(100, 0), (199, 0), (204, 0), (304, 0), (200, 9), (404, 9)] {
        let head = format!("RTSP/1.0 {status} x\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(
            parse_head(head.as_bytes()).unwrap().body_len,
            body_len,
            "{status}"
        );
    }
}

#[test]
fn cseq_is_one_to_nine_digits() {
    // covers: B-CSEQ-07
    for (text, value) in [
        ("1", Some(1)),
        (" 007 ", Some(7)),
        ("0", Some(0)),
        ("999999999", Some(999_999_999)),
        ("0000000000012", Some(12)),
        ("1000000000", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1 2", None),
        ("0x1", None),
    ] {
        let mut headers = Headers::new();
        headers.push("CSeq", text);
        assert_eq!(cseq(&headers), value, "{text:?}");
    }
    assert_eq!(cseq(&Headers::new()), None);
}

#[test]
fn lists_split_at_commas_outside_quotes() {
    // covers: B-MSG-11
    for (list, items) in [
        ("a, b ,,c", vec!["a", "b", "c"]),
        (
            r#"x="1,2", y="\",", z"#,
            vec![r#"x="1,2""#, r#"y="\",""#, "z"],
        ),
        (r#"a, "open, b"#, vec!["a", r#""open, b"#]),
        ("", vec![]),
    ] {
        assert_eq!(split_list(list).collect::<Vec<_>>(), items, "{list}");
    }
}

#[test]
fn errors_show_at_most_64_escaped_bytes() {
    // covers: H-07
    let error = parse_head(&[0xff; 1000]).unwrap_err();
    assert_eq!(error, ParseError::StartLine("\\xff".repeat(64)));
}

#[test]
fn what_is_written_reads_back_the_same() {
    // covers: B-MSG-01
    let mut request = Request::new(Method::SetParameter, "rtsp://h/a b;c=1", Version::V1_0);
    request.headers.push("CSeq", "12");
    request.headers.push("X-Name", &b"caf\xe9"[..]);
    let mut wire = Vec::new();
    request.write(&mut wire);
    assert!(wire.ends_with(b"\r\n\r\n"));
    let head = parse_head(&wire).unwrap();
    assert_eq!(
        (head.message, head.dropped_lines),
        (Message::Request(request), 0)
    );
}

proptest! {
    #[test]
    fn no_panic_on_arbitrary_bytes(bytes: Vec<u8>) {
        let _ = parse_head(&bytes);
        let mut head = b"RTSP/1.0 200 OK\r\n".to_vec();
        head.extend_from_slice(&bytes);
        let _ = parse_head(&head);
        let _ = split_list_bytes(&bytes).count();
    }

    #[test]
    fn no_panic_on_header_like_text(text in "[ \t\r\n:,\"\\\\a-cRTSP/0-9.]{0,80}") {
        let _ = parse_head(text.as_bytes());
        let _ = split_list(&text).count();
    }
}
