use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::address::Reach;
use crate::net::connect::after;
use crate::net::http::HttpSettings;
use crate::net::testing::{WAIT, block_on, read_head};
use crate::net::tls::Connector;
use crate::rtsp::client::ErrorKind;
use crate::rtsp::limits;
use crate::rtsp::url::{Credentials, Url};

// covers: C-HTUN-01
#[test]
fn cookies_have_22_visible_characters_and_differ() {
    let (one, two) = (cookie(), cookie());
    assert_ne!(one, two);
    assert_eq!(one.len(), 22);
    assert!(one.bytes().all(|byte| byte.is_ascii_graphic()));
}

fn headers(name: &str, value: &str) -> Headers {
    let mut headers = Headers::new();
    headers.push(name, value);
    headers
}

// covers: C-HTUN-02, H-32
#[test]
fn a_web_page_and_chunks_are_no_tunnel() {
    assert!(check(&headers("Content-Type", CONTENT_TYPE)).is_ok());
    assert!(check(&headers("Content-Type", "application/octet-stream")).is_ok());
    assert!(check(&Headers::new()).is_ok());
    assert!(check(&headers("content-type", "text/HTML; charset=x")).is_err());
    assert!(check(&headers("Transfer-Encoding", "Chunked")).is_err());
}

// covers: C-HTUN-10
#[test]
fn only_an_address_is_taken_for_one() {
    let address = |value| server_address(&headers("X-Server-IP-Address", value));
    assert_eq!(address(" 10.0.0.1 "), Some("10.0.0.1".into()));
    assert_eq!(address("2001:db8::1"), Some("2001:db8::1".into()));
    for other in ["", "example.org", "10.0.0.1:80", "10.0.0.1\r\nX: y"] {
        assert_eq!(address(other), None, "{other:?}");
    }
}

const OK: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n";

struct Server(TcpListener);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn target(&self) -> Target {
        let address = self.0.local_addr().unwrap();
        Target {
            url: Url::parse(&format!("rtsph://{address}/live?x=1")).unwrap(),
            timeout: WAIT,
            reach: Reach::Any,
            permit: false,
            tls: Arc::new(Connector::new(Default::default(), None)),
            credentials: None,
            user_agent: "me/1".into(),
            http: HttpSettings::default(),
        }
    }

    /// The next request, and the connection that it came on.
    async fn request(&self) -> (String, TcpStream) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        (read_head(&mut stream).await, stream)
    }

    /// The next request, answered so.
    async fn answer(&self, answer: &str) -> (String, TcpStream) {
        let (head, mut stream) = self.request().await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        (head, stream)
    }
}

type Opened = Result<(Halves, SocketAddr, SocketAddr), ConnectError>;

fn begin(target: Target) -> tokio::task::JoinHandle<Opened> {
    tokio::spawn(open(Arc::new(target), after(WAIT)))
}

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// An open tunnel: its halves, the heads of GET and POST, and the server's sides.
struct Open {
    read: Reading,
    write: Writing,
    get: (String, TcpStream),
    post: (String, TcpStream),
}

async fn tunnel(server: &Server, target: Target) -> Open {
    let client = begin(target);
    let get = server.answer(OK).await;
    let post = server.request().await;
    let Ok((Halves::Layered(read, write), ..)) = client.await.unwrap() else {
        panic!("no tunnel");
    };
    Open {
        read,
        write,
        get,
        post,
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| line.split_once(": ").filter(|(n, _)| *n == name);
    head.lines().find_map(line).map(|(_, value)| value)
}

async fn take(stream: &mut TcpStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    stream.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

// covers: C-HTUN-01, C-HTUN-03, C-HTUN-04, C-HTUN-07
#[test]
fn get_and_post_have_one_cookie_and_no_answer_is_waited_for() {
    block_on(async {
        let server = Server::new().await;
        let mut target = server.target();
        target.http.extra_headers = vec![("X-Key".into(), "k".into())];
        let client = begin(target);
        let (get, _down) = server.answer(&format!("{OK}early")).await;
        let (post, _up) = server.request().await;
        let Ok((Halves::Layered(mut read, _write), ..)) = client.await.unwrap() else {
            panic!("no tunnel");
        };
        assert!(get.starts_with("GET /live?x=1 HTTP/1.0\r\n"), "{get}");
        assert!(post.starts_with("POST /live?x=1 HTTP/1.0\r\n"), "{post}");
        let cookie = field(&get, "x-sessioncookie").unwrap();
        assert_eq!(field(&post, "x-sessioncookie"), Some(cookie));
        let address = server.0.local_addr().unwrap().to_string();
        for head in [&get, &post] {
            assert_eq!(field(head, "Host"), Some(address.as_str()));
            assert_eq!(field(head, "User-Agent"), Some("me/1"));
            assert_eq!(field(head, "X-Key"), Some("k"));
            assert_eq!(field(head, "Pragma"), Some("no-cache"));
            assert_eq!(field(head, "Cache-Control"), Some("no-cache"));
        }
        assert_eq!(field(&get, "Accept"), Some(CONTENT_TYPE));
        assert_eq!(field(&post, "Content-Type"), Some(CONTENT_TYPE));
        assert_eq!(field(&post, "Content-Length"), Some("32767"));
        let expires = field(&post, "Expires");
        assert_eq!(expires, Some("Sun, 9 Jan 1972 00:00:00 GMT"));
        let mut early = [0; 5];
        read.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"early");
    });
}

// covers: C-HTUN-05
#[test]
fn what_is_written_is_padded_at_its_end_only() {
    block_on(async {
        let server = Server::new().await;
        let mut open = tunnel(&server, server.target()).await;
        open.write.write_all(b"OPTIONS ").await.unwrap();
        open.write.write_all(b"*").await.unwrap();
        open.write.flush().await.unwrap();
        let up = &mut open.post.1;
        assert_eq!(take(up, 16).await, "T1BUSU9OUyA=Kg==");
        // Several messages at once are one run.
        let slices = [b"a".as_slice(), b"bc", b"", b"defg"].map(io::IoSlice::new);
        assert_eq!(open.write.write_vectored(&slices).await.unwrap(), 7);
        open.write.flush().await.unwrap();
        assert_eq!(take(up, 12).await, BASE64_STANDARD.encode("abcdefg"));
        open.get.1.write_all(b"down").await.unwrap();
        let mut down = [0; 4];
        open.read.read_exact(&mut down).await.unwrap();
        assert_eq!(&down, b"down");
        // The end of the writer is the end of the POST.
        open.write.shutdown().await.unwrap();
        assert_eq!(up.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

// covers: C-HTUN-05
#[test]
fn a_large_write_is_cut_between_groups() {
    block_on(async {
        let server = Server::new().await;
        let mut target = server.target();
        target.http.post_length = u64::MAX;
        let mut open = tunnel(&server, target).await;
        let plain: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let expected = BASE64_STANDARD.encode(&plain);
        let mut up = open.post.1;
        let server = tokio::spawn(async move { take(&mut up, expected.len()).await == expected });
        open.write.write_all(&plain).await.unwrap();
        open.write.flush().await.unwrap();
        assert!(server.await.unwrap());
    });
}

// covers: C-HTUN-11
#[test]
fn a_post_whose_length_is_used_up_is_followed_by_another() {
    block_on(async {
        let server = Server::new().await;
        let mut target = server.target();
        target.http.post_length = 50;
        let mut open = tunnel(&server, target).await;
        let cookie = field(&open.get.0, "x-sessioncookie").map(str::to_string);
        // 2 × 20 characters fit, a third does not.
        let mut up = open.post.1;
        for n in 0..5 {
            let client = async {
                open.write.write_all(&[n; 15]).await.unwrap();
                open.write.flush().await.unwrap();
            };
            let peer = async {
                if n == 2 || n == 4 {
                    assert_eq!(
                        up.read(&mut [0; 8]).await.unwrap(),
                        0,
                        "the last one ends first"
                    );
                    let (head, stream) = server.request().await;
                    assert_eq!(field(&head, "x-sessioncookie").map(str::to_string), cookie);
                    assert_eq!(field(&head, "Content-Length"), Some("50"));
                    up = stream;
                }
                assert_eq!(take(&mut up, 20).await, BASE64_STANDARD.encode([n; 15]));
            };
            tokio::join!(client, peer);
        }
        // What fits into none is cut.
        let plain = [7; 100];
        let client = async {
            open.write.write_all(&plain).await.unwrap();
            open.write.flush().await.unwrap();
        };
        let peer = async {
            let mut text = take(&mut up, 0).await;
            while text.len() < BASE64_STANDARD.encode(plain).len() {
                assert_eq!(up.read(&mut [0; 8]).await.unwrap(), 0);
                (_, up) = server.request().await;
                let mut rest = vec![0; 136 - text.len()];
                let wanted = rest.len().min(48);
                up.read_exact(&mut rest[..wanted]).await.unwrap();
                text.push_str(std::str::from_utf8(&rest[..wanted]).unwrap());
            }
            assert_eq!(text, BASE64_STANDARD.encode(plain));
        };
        tokio::join!(client, peer);
    });
}

/// The thread of a pad writes what it brings, and there is no runtime on it.
#[test]
fn a_post_is_renewed_from_any_thread() {
    block_on(async {
        let server = Server::new().await;
        let mut target = server.target();
        target.http.post_length = 8;
        let open = tunnel(&server, target).await;
        let mut write = open.write;
        write.write_all(b"abc").await.unwrap();
        let foreign = std::thread::spawn(move || {
            let mut context = Context::from_waker(std::task::Waker::noop());
            let written = Pin::new(&mut write).poll_write(&mut context, b"defghi");
            assert!(written.is_pending(), "another POST is on its way");
            write
        });
        let mut write = foreign.join().unwrap();
        let client = async {
            write.write_all(b"defghi").await.unwrap();
            write.flush().await.unwrap();
        };
        let (_, (_, mut up)) = tokio::join!(client, server.request());
        assert_eq!(take(&mut up, 8).await, "ZGVmZ2hp");
    });
}

// covers: C-HTUN-04, C-HTUN-11
#[test]
fn a_late_answer_is_passed_over_and_an_ended_post_is_opened_again() {
    block_on(async {
        let server = Server::new().await;
        let mut open = tunnel(&server, server.target()).await;
        let late = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let mut up = open.post.1;
        up.write_all(late.as_bytes()).await.unwrap();
        open.write.write_all(b"one").await.unwrap();
        assert_eq!(take(&mut up, 4).await, "b25l");
        up.shutdown().await.unwrap();
        let next = tokio::spawn(async move { server.request().await });
        // Sooner or later the client has seen that.
        while !next.is_finished() {
            open.write.write_all(b"two").await.unwrap();
            open.write.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        let (head, mut again) = next.await.unwrap();
        assert!(head.starts_with("POST "), "{head}");
        assert_eq!(take(&mut again, 4).await, "dHdv");
    });
}

// covers: C-HTUN-04, H-32
#[test]
fn a_post_that_is_refused_ends_the_tunnel() {
    for (answer, part) in [
        ("HTTP/1.0 404 Not Found\r\n\r\n", "answered 404 Not Found"),
        ("\u{1}garbage\r\n", "does not speak HTTP"),
    ] {
        block_on(async {
            let server = Server::new().await;
            let mut open = tunnel(&server, server.target()).await;
            open.post.1.write_all(answer.as_bytes()).await.unwrap();
            let error = open.read.read(&mut [0; 8]).await.unwrap_err().to_string();
            assert!(error.contains("POST") && error.contains(part), "{error}");
        });
    }
}

// covers: C-HTUN-11
#[test]
fn a_server_that_ends_each_post_is_given_up() {
    block_on(async {
        let server = Server::new().await;
        let mut open = tunnel(&server, server.target()).await;
        open.post.1.shutdown().await.unwrap();
        let (count, posts) = tokio::sync::watch::channel(0);
        let peer = tokio::spawn(async move {
            let mut ended = Vec::new();
            loop {
                let (_, mut stream) = server.request().await;
                stream.shutdown().await.unwrap();
                ended.push(stream);
                count.send_replace(ended.len());
            }
        });
        let error = loop {
            let written = open.write.write_all(b"abc").await;
            match written.and(open.write.flush().await) {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error.to_string(),
            }
        };
        peer.abort();
        assert!(error.contains("ends each POST"), "{error}");
        let most = usize::try_from(limits::POSTS_PER_MINUTE).unwrap();
        assert!(*posts.borrow() <= most, "{} POSTs", *posts.borrow());
    });
}

// covers: C-HTUN-09, H-32
#[test]
fn a_get_that_is_refused_is_an_error_that_names_the_tunnel() {
    for (answer, part, kind) in [
        (
            "HTTP/1.0 404 Not Found\r\n\r\n",
            "404 Not Found",
            ErrorKind::NotFound,
        ),
        ("HTTP/1.0 501 No\r\n\r\n", "501", ErrorKind::Settings),
        ("HTTP/1.0 503 Busy\r\n\r\n", "503", ErrorKind::Busy),
        (
            "RTSP/1.0 400 Bad Request\r\n\r\n",
            "RTSP/1.0 400",
            ErrorKind::Protocol,
        ),
        ("\u{2}\u{3}what", "does not speak HTTP", ErrorKind::Protocol),
        ("", "closed the connection", ErrorKind::Connect),
        (
            "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
            "web page",
            ErrorKind::Protocol,
        ),
        (
            "HTTP/1.0 302 Found\r\n\r\n",
            "redirects",
            ErrorKind::Protocol,
        ),
        (
            "HTTP/1.0 302 Found\r\nLocation: rtsp://h/\r\n\r\n",
            "redirects",
            ErrorKind::Protocol,
        ),
        (
            "HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n",
            "wants a user name",
            ErrorKind::NotAuthorized,
        ),
    ] {
        block_on(async {
            let server = Server::new().await;
            let client = begin(server.target());
            drop(server.answer(answer).await);
            let error = client.await.unwrap().map(drop).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("The HTTP tunnel at 127.0.0.1:"), "{text}");
            assert!(text.contains(part), "{text}");
            assert_eq!(error.kind(), kind, "{text}");
        });
    }
}

// covers: C-HTUN-09
#[test]
fn a_401_to_the_get_is_answered_and_the_post_is_authorized_too() {
    block_on(async {
        let server = Server::new().await;
        let target = Target {
            credentials: Some(Credentials {
                user: "me".into(),
                password: "S3cret".into(),
            }),
            ..server.target()
        };
        let client = begin(target);
        let ask = "HTTP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\r\n";
        let (first, _) = server.answer(ask).await;
        assert_eq!(field(&first, "Authorization"), None);
        let (get, _down) = server.answer(OK).await;
        let (post, _up) = server.request().await;
        client.await.unwrap().map(drop).unwrap();
        let (get, post) = (field(&get, "Authorization"), field(&post, "Authorization"));
        for (header, count) in [(get, "nc=00000001"), (post, "nc=00000002")] {
            let header = header.unwrap();
            assert!(header.contains("uri=\"/live?x=1\""), "{header}");
            assert!(header.contains(count), "{header}");
        }
    });
}

// covers: C-HTUN-09, C-REDIR-02
#[test]
fn redirects_of_the_get_are_followed_by_both_and_are_bounded() {
    block_on(async {
        let (server, other) = (Server::new().await, Server::new().await);
        let there = other.0.local_addr().unwrap();
        let client = begin(server.target());
        let to = |path: &str| format!("HTTP/1.0 302 Found\r\nLocation: {path}\r\n\r\n");
        server.answer(&to("/two")).await;
        let (head, _) = server.answer(&to(&format!("http://{there}/three"))).await;
        assert!(head.starts_with("GET /two "), "{head}");
        let (get, _down) = other.answer(OK).await;
        let (post, _up) = other.request().await;
        client.await.unwrap().map(drop).unwrap();
        assert!(get.starts_with("GET /three "), "{get}");
        assert!(post.starts_with("POST /three "), "{post}");
        assert_eq!(field(&post, "Host"), Some(there.to_string().as_str()));

        let client = begin(server.target());
        for n in 0..=limits::REDIRECTS {
            server.answer(&to(&format!("/{n}"))).await;
        }
        let error = client.await.unwrap().map(drop).unwrap_err().to_string();
        assert!(error.contains("without end"), "{error}");
    });
}

// covers: C-HTUN-09
#[test]
fn credentials_are_not_taken_along_to_another_server() {
    block_on(async {
        let (server, other) = (Server::new().await, Server::new().await);
        let target = Target {
            credentials: Some(Credentials {
                user: "me".into(),
                password: "S3cret".into(),
            }),
            ..server.target()
        };
        let client = begin(target);
        let there = other.0.local_addr().unwrap();
        let to = format!("HTTP/1.0 307 There\r\nLocation: http://{there}/\r\n\r\n");
        server.answer(&to).await;
        let ask = "HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\r\n";
        other.answer(ask).await;
        let error = client.await.unwrap().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    });
}

// covers: C-HTUN-10
#[test]
fn the_post_goes_to_the_address_that_the_server_names_unless_that_is_ignored() {
    for ignore in [false, true] {
        block_on(async {
            // The same port on another address.
            let here = Server::new().await;
            let port = here.0.local_addr().unwrap().port();
            let there = Server(TcpListener::bind(("127.0.0.2", port)).await.unwrap());
            let mut target = here.target();
            target.http.ignore_server_address = ignore;
            let client = begin(target);
            let ok = OK.replace("\r\n\r\n", "\r\nx-server-ip-address: 127.0.0.2\r\n\r\n");
            let (_, _down) = here.answer(&ok).await;
            let (head, _up) = match ignore {
                true => here.request().await,
                false => there.request().await,
            };
            assert!(head.starts_with("POST "), "{head}");
            client.await.unwrap().map(drop).unwrap();
        });
    }
}

// covers: C-HTUN-12
#[test]
fn a_proxy_of_http_takes_the_requests_with_absolute_urls() {
    block_on(async {
        let proxy = Server::new().await;
        let address = proxy.0.local_addr().unwrap();
        let mut target = proxy.target();
        target.url = Url::parse("rtsph://cam.example/live?x=1").unwrap();
        let own = crate::net::proxy::Proxy::parse(&format!("me:S3cret@{address}")).unwrap();
        target.http.proxy = Some(own);
        let client = begin(target);
        let ask = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"r\"\r\n\r\n";
        proxy.answer(ask).await;
        let (get, _down) = proxy.answer(OK).await;
        let (post, _up) = proxy.request().await;
        client.await.unwrap().map(drop).unwrap();
        for (head, method) in [(get, "GET"), (post, "POST")] {
            let line = format!("{method} http://cam.example/live?x=1 HTTP/1.0\r\n");
            assert!(head.starts_with(&line), "{head}");
            assert_eq!(field(&head, "Host"), Some("cam.example"));
            assert!(field(&head, "Proxy-Authorization").is_some(), "{head}");
            assert_eq!(field(&head, "Authorization"), None);
        }
    });
}
