//! Reads of many records.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that gives all that it has: a TLS stream gives one record a read, which
/// is one packet with most servers, and a burst would be taken apart.
pub(super) struct Greedy<S> {
    inner: S,
    /// Found after data that had to be given first.
    error: Option<io::Error>,
}

impl<S> Greedy<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, error: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greedy<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        let begin = buffer.filled().len();
        loop {
            let before = buffer.filled().len();
            let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
            let filled = buffer.filled().len();
            match result {
                Poll::Ready(Ok(())) if filled > before && buffer.remaining() > 0 => {}
                Poll::Ready(Err(error)) if filled > begin => {
                    self.error = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if filled > begin => return Poll::Ready(Ok(())),
                result => return result,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greedy<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
