//! The body of an answer, which may break off.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::time::Sleep;

use crate::server::Hangup;

/// Time for what was written to leave, before the connection goes down with it.
const FLUSH: Duration = Duration::from_millis(20);

/// A body: whole, or half of one and then the end of the connection.
pub(crate) struct Text {
    left: Option<Bytes>,
    breaks_off: Option<Pin<Box<Sleep>>>,
}

impl Text {
    pub(crate) fn whole(text: impl Into<Bytes>) -> Self {
        Self {
            left: Some(text.into()),
            breaks_off: None,
        }
    }

    /// The first half. The caller has announced the length of the whole.
    pub(crate) fn half(text: &str) -> Self {
        let half = &text.as_bytes()[..text.len() / 2];
        Self {
            left: Some(Bytes::copy_from_slice(half)),
            breaks_off: Some(Box::pin(tokio::time::sleep(FLUSH))),
        }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Hangup;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Hangup>>> {
        if let Some(bytes) = self.left.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.breaks_off {
            None => Poll::Ready(None),
            Some(flushed) => flushed.as_mut().poll(context).map(|()| Some(Err(Hangup))),
        }
    }
}
