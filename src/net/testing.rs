//! Peers of the tests.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// No test waits for longer.
pub(super) const WAIT: Duration = Duration::from_secs(20);

pub(super) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let test = async { tokio::time::timeout(WAIT, test).await.expect("in time") };
    runtime.block_on(test)
}

/// The head of a request, byte by byte so that nothing of what follows is taken.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).unwrap()
}
