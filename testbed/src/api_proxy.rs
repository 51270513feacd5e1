//! A proxy between the operator and the API server that goes wrong on demand: refused and slow
//! requests, lost answers, watches that end, expire or lag.
//!
//! Only the operator goes through it ([`crate::operator::Operator::go_through`]); whoever tests
//! asks the API server itself. It speaks plain HTTP to the operator and passes its token on as it
//! is.

mod fault;
mod request;
mod server;
mod watches;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper::Uri;
use hyper::body::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::control_plane::ControlPlane;
use crate::server::Server;
use fault::Faults;
pub use fault::{Fault, FaultKind};
pub use request::Seen;
use watches::Watches;
pub use watches::{Ending, Lag};

/// A running proxy. It ends with this value.
pub struct ApiProxy {
    shared: Shared,
    server: Server,
}

/// What the connections and the handle share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

/// What is to go wrong, and what has passed.
#[derive(Default)]
pub(crate) struct State {
    faults: Faults,
    watches: Watches,
    requests: Vec<Seen>,
    /// The last answer to a list of each resource, and what lists are answered with instead.
    lists: HashMap<String, Bytes>,
    replayed: HashMap<String, Bytes>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl ApiProxy {
    /// Starts one before a control plane's API server; nothing goes wrong yet.
    ///
    /// # Errors
    /// When it cannot listen, or the API server's certificate cannot be read.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let certificates = std::fs::read(plane.certificate()).context("the API server has no certificate")?;
        let certificates = pem::parse_many(certificates)?;
        let mut config = kube::Config::new(plane.url().parse::<Uri>()?);
        config.root_cert = Some(certificates.into_iter().map(pem::Pem::into_contents).collect());
        config.default_retry = false; // what the API server says is for the operator
        let shared = Shared(Arc::default());
        let server = server::start(config, shared.clone())?;
        Ok(Self { shared, server })
    }

    /// Where the operator finds it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Adds something that goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Faults that have not struck, or not as often as they are to.
    #[must_use]
    pub fn faults_left(&self) -> Vec<Fault> {
        self.shared.lock().faults.left()
    }

    /// Nothing goes wrong any more, but for watches.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// All requests that were answered, or whose answer was lost, in order. A watch counts when it
    /// begins.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().requests.clone()
    }

    /// Ends the open watches of a resource.
    pub fn end_watches(&self, resource: &str, ending: Ending) {
        self.shared.lock().watches.end(resource, ending);
    }

    /// Keeps the events of a resource's watches back until the answer is dropped; they come then.
    #[must_use]
    pub fn hold_back(&self, resource: &str) -> Lag {
        self.shared.lock().watches.hold_back(resource)
    }

    /// The last answer to a list of the resource.
    #[must_use]
    pub fn last_list(&self, resource: &str) -> Option<Bytes> {
        self.shared.lock().lists.get(resource).cloned()
    }

    /// Answers lists of a resource with an old answer, as a cache that is behind would, or with the
    /// truth again.
    pub fn answer_lists_with(&self, resource: &str, old: Option<Bytes>) {
        let mut state = self.shared.lock();
        match old {
            Some(old) => state.replayed.insert(resource.to_owned(), old),
            None => state.replayed.remove(resource),
        };
    }
}
