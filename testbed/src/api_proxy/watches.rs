//! The open watches: each can be ended, expired, or paused.

use std::collections::{HashMap, HashSet};

use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::fault::refusal;
use crate::server::Hangup;

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order, as the API server ends each after some minutes.
    Closed,
    /// The connection breaks.
    Cut,
    /// An `ERROR` event says 410: what it was to go on from is compacted.
    Expired,
    /// The connection breaks, and whoever goes on from what it knows is answered 410, until it has
    /// listed.
    Compacted,
}

/// What all watches of one resource are subject to.
#[derive(Debug, Clone, Copy, Default)]
struct Course {
    held: bool,
    ended: Option<(u64, Ending)>,
}

/// All resources' watches.
#[derive(Default)]
pub(super) struct Watches {
    courses: HashMap<String, watch::Sender<Course>>,
    compacted: HashSet<String>,
}

impl Watches {
    fn course(&mut self, resource: &str) -> &watch::Sender<Course> {
        self.courses.entry(resource.to_owned()).or_default()
    }

    pub(super) fn end(&mut self, resource: &str, ending: Ending) {
        if ending == Ending::Compacted {
            self.compacted.insert(resource.to_owned());
        }
        self.course(resource).send_modify(|course| {
            let count = course.ended.map_or(0, |(count, _)| count);
            course.ended = Some((count + 1, ending));
        });
    }

    pub(super) fn hold_back(&mut self, resource: &str) -> Lag {
        let course = self.course(resource).clone();
        course.send_modify(|course| course.held = true);
        Lag { course }
    }

    /// A list was answered.
    pub(super) fn listed(&mut self, resource: &str) {
        self.compacted.remove(resource);
    }

    /// A watch that begins; none where what it goes on from is compacted.
    pub(super) fn begin(&mut self, resource: &str) -> Option<Watching> {
        if self.compacted.contains(resource) {
            return None;
        }
        let course = self.course(resource).subscribe();
        let before = course.borrow().ended.map(|(count, _)| count);
        Some(Watching { course, before })
    }
}

/// Keeps the events of a resource's watches back until it is dropped.
pub struct Lag {
    course: watch::Sender<Course>,
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.course.send_modify(|course| course.held = false);
    }
}

/// An open watch's view of its resource.
pub(super) struct Watching {
    course: watch::Receiver<Course>,
    /// How many times watches of the resource had been ended when this one began.
    before: Option<u64>,
}

/// Some of a watch's events, or the end of the connection.
pub(super) type Piece = Result<Bytes, Hangup>;

impl Watching {
    /// Passes on what the API server sends, until either side ends it or it is ended here.
    pub(super) async fn pass_on(mut self, mut events: mpsc::Receiver<Piece>, to: mpsc::Sender<Piece>) {
        let mut course = self.course.clone();
        loop {
            let next = async {
                // The sender lives as long as the proxy.
                let _ = course.wait_for(|course| !course.held).await;
                events.recv().await
            };
            let event = tokio::select! {
                biased;
                ending = self.ended() => {
                    let last = match ending {
                        Ending::Cut | Ending::Compacted => Err(Hangup),
                        Ending::Expired => {
                            let event = json!({"type": "ERROR", "object": refusal(410)});
                            Ok(format!("{event}\n").into())
                        }
                        Ending::Closed => return,
                    };
                    // The client may be gone.
                    let _ = to.send(last).await;
                    return;
                }
                () = to.closed() => return,
                event = next => event,
            };
            let Some(event) = event else { return };
            if to.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Waits until the watches of the resource are ended.
    async fn ended(&mut self) -> Ending {
        let before = self.before;
        let changed = |course: &Course| course.ended.is_some_and(|(count, _)| Some(count) != before);
        let ended = self.course.wait_for(changed).await.ok().and_then(|course| course.ended);
        ended.map_or(Ending::Closed, |(_, ending)| ending)
    }
}
