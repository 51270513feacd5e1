//! Puts objects into the queues of their controllers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, stream};
use kube::Resource;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use vpce_core::object_key::ObjectKey;

use super::caches::{Account, EndpointService};

/// Puts an object into its queue.
pub(crate) type Enqueue = Arc<dyn Fn(ObjectKey) + Send + Sync>;

/// What a controller is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Reconcile this object now, whatever time it was to wait. What was refused to it is tried
    /// again in its own time.
    Requeue(ObjectKey),
    /// Reconcile this object now, and try again what was refused to it.
    Enqueue(ObjectKey),
    /// An AWSAccount has changed: reconcile the objects that it matters to, as [`Request::Enqueue`]
    /// does.
    AccountChanged(String),
    /// The labels of a Namespace have changed, by which AWSAccounts select it: reconcile the
    /// objects in it, as [`Request::Enqueue`] does.
    NamespaceChanged(String),
    /// An endpoint waits for the owner of the endpoint service of this name to accept it: reconcile
    /// the objects that offer it, as [`Request::Requeue`] does.
    AcceptanceAwaited(String),
}

/// Puts objects into the queues of their controllers. What is asked for of a kind without a queue
/// is dropped.
#[derive(Clone, Default)]
pub(crate) struct Requeuer(Arc<Mutex<HashMap<Cow<'static, str>, UnboundedSender<Request>>>>);

impl Requeuer {
    /// The queue of a kind, from now on.
    pub(crate) fn queue<K: Resource<DynamicType = ()>>(&self) -> impl Stream<Item = Request> + Send + use<K> {
        let (sender, mut receiver) = unbounded_channel();
        self.0.lock().insert(K::kind(&()), sender);
        stream::poll_fn(move |cx| receiver.poll_recv(cx))
    }

    /// Reconciles an object now; see [`Request::Requeue`].
    pub(crate) fn requeue(&self, key: ObjectKey) {
        self.send(&key.kind.clone(), Request::Requeue(key));
    }

    /// Reconciles an object now, and tries again what was refused to it; see [`Request::Enqueue`].
    pub(crate) fn enqueue(&self, key: ObjectKey) {
        self.send(&key.kind.clone(), Request::Enqueue(key));
    }

    /// Reconciles an AWSAccount now.
    pub(crate) fn account(&self, name: &str) {
        self.requeue(ObjectKey::new::<Account>("", name));
    }

    /// Reconciles the objects that an AWSAccount matters to.
    pub(crate) fn account_changed(&self, name: &str) {
        self.broadcast(&Request::AccountChanged(name.to_owned()));
    }

    /// Reconciles the objects in a namespace.
    pub(crate) fn namespace_changed(&self, name: &str) {
        self.broadcast(&Request::NamespaceChanged(name.to_owned()));
    }

    /// Reconciles the VPCEndpointServices that offer an endpoint service.
    pub(crate) fn acceptance_awaited(&self, service_name: &str) {
        let request = Request::AcceptanceAwaited(service_name.to_owned());
        self.send(&EndpointService::kind(&()), request);
    }

    /// Tells the controllers of all kinds that are bound to AWSAccounts.
    fn broadcast(&self, request: &Request) {
        for (kind, queue) in &*self.0.lock() {
            if *kind != Account::kind(&()) {
                let _ = queue.send(request.clone());
            }
        }
    }

    fn send(&self, kind: &str, request: Request) {
        if let Some(queue) = self.0.lock().get(kind) {
            // Without a receiver the process is ending.
            let _ = queue.send(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::k8s::caches::Endpoint;

    #[test]
    fn each_kind_has_its_queue_and_an_account_that_changed_is_told_to_all_others() {
        let requeuer = Requeuer::default();
        let api = || ObjectKey::new::<Endpoint>("blue", "api");
        requeuer.enqueue(api());
        let mut endpoints = std::pin::pin!(requeuer.queue::<Endpoint>());
        let mut accounts = std::pin::pin!(requeuer.queue::<Account>());
        requeuer.requeue(api());
        requeuer.enqueue(api());
        requeuer.account("one");
        requeuer.account_changed("one");
        let expected = [
            Request::Requeue(api()),
            Request::Enqueue(api()),
            Request::AccountChanged("one".to_owned()),
        ];
        for request in expected {
            assert_eq!(endpoints.next().now_or_never(), Some(Some(request)));
        }
        assert_eq!(endpoints.next().now_or_never(), None);
        let one = ObjectKey::new::<Account>("", "one");
        assert_eq!(accounts.next().now_or_never(), Some(Some(Request::Requeue(one))));
        assert_eq!(accounts.next().now_or_never(), None);
    }
}
