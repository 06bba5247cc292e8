//! What the application is asked about before it has effect, in order.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::rtsp::client::Reviewed;

/// Questions that wait for their answer. The client bounds their number.
#[derive(Default)]
pub(super) struct Reviewing(VecDeque<(u64, oneshot::Receiver<Reviewed>)>);

impl Reviewing {
    pub fn ask(&mut self, id: u64, answer: oneshot::Receiver<Reviewed>) {
        self.0.push_back((id, answer));
    }

    /// The next answer. The queue of foreign code gives them in order; cancel safe.
    pub async fn answer(&mut self) -> (u64, Reviewed) {
        let Some((id, answer)) = self.0.front_mut() else {
            return std::future::pending().await;
        };
        let id = *id;
        // A handler that has panicked has changed nothing.
        let reviewed = answer.await.unwrap_or(Reviewed::Unchanged);
        self.0.pop_front();
        (id, reviewed)
    }
}
