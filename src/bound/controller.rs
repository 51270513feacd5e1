//! Feeds objects that are bound to AWSAccounts to their reconcile: how long they wait, and what
//! each outcome means for the queue.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tracing::Span;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;

use super::Bound;
use super::memories::Memories;
use crate::k8s::controller::{Failure, Next, Reconciler};
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::shared::Shared;
use crate::telemetry::{Metrics, Outcome};

/// Who waits for room in an account is requeued; this is for what nobody has thought of.
const ASK_FOR_ROOM: Duration = Duration::from_secs(60);

/// The controller of such a kind.
pub(crate) trait Controller: Send + Sync + 'static {
    /// The kind, as it is watched.
    type Object: Bound;

    /// The name in metrics: the kind in lower case.
    const NAME: &'static str;

    /// What all controllers share.
    fn shared(&self) -> &Shared;

    /// What is remembered of each object between reconciles.
    fn memories(&self) -> &Memories<Self::Object>;

    /// The objects that a request is for; their waits end.
    fn requested(&self, request: Request) -> Vec<ObjectKey>;

    /// An object is about to be reconciled.
    fn begins(&self, _: &Self::Object) {}

    /// Reconciles an object. An error is one of the API server.
    fn reconcile(&self, object: Arc<Self::Object>) -> impl Future<Output = Result<Next, kube::Error>> + Send;

    /// The API server did not take a write of an object.
    fn tell_of_refusal(&self, object: Arc<Self::Object>, refused: &Refused) -> impl Future<Output = Next> + Send;

    /// Says this in the object's status, whatever else it says.
    fn say(&self, object: &Arc<Self::Object>, finding: Finding)
    -> impl Future<Output = Result<(), kube::Error>> + Send;

    /// The object is gone: it gives back what it took.
    fn leave(&self, object: &Self::Object);
}

impl<C: Controller> Reconciler for C {
    type Object = C::Object;

    const CONTROLLER: &'static str = C::NAME;
    /// The longest calls to AWS are given up after 34 s, and a reconcile makes several.
    const DEADLINE: Duration = Duration::from_secs(150);

    fn metrics(&self) -> &Metrics {
        &self.shared().metrics
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        Controller::requested(self, request)
    }

    fn cached(&self, key: &ObjectKey) -> Option<Arc<C::Object>> {
        C::Object::cached(&self.shared().caches, &key.namespace, &key.name)
    }

    fn begin(&self, object: Arc<C::Object>) -> Result<Arc<C::Object>, Duration> {
        let object = self.memories().newest(object);
        if let Some(left) = self.memories().wait(&object, self.shared().settings.poll_interval) {
            // Who waits for something else waits for no room.
            self.shared().semaphore.cancel(&ObjectKey::of(&*object));
            return Err(left);
        }
        self.begins(&object);
        Ok(object)
    }

    fn account(&self, object: &C::Object) -> String {
        let account = C::Object::account(object.status());
        account.map(|account| account.name.clone()).unwrap_or_default()
    }

    fn span(&self, object: &C::Object) -> Span {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        tracing::info_span!("reconcile", namespace, name, account = self.account(object))
    }

    async fn reconcile(&self, object: Arc<C::Object>) -> Result<(Outcome, Next), kube::Error> {
        // Boxed, or its type grows too deep for the compiler.
        let next = Box::pin(Controller::reconcile(self, object.clone())).await?;
        self.memories().agreed(&object);
        let refused = self
            .memories()
            .with(&object, |memory| std::mem::take(&mut memory.status_refused));
        Ok((if refused { Outcome::Error } else { Outcome::Ok }, next))
    }

    async fn failed(&self, object: Arc<C::Object>, failure: Failure) -> Next {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let memories = self.memories();
        match failure {
            Failure::Conflict => return Next::NotBefore(memories.conflicted(&object)),
            Failure::Refused(error) if let Some(refused) = Refused::of(&error).cloned() => {
                return self.tell_of_refusal(memories.newest(object), &refused).await;
            }
            Failure::Refused(error) => {
                tracing::warn!(namespace, name, %error, "a request to the API server failed");
            }
            Failure::Panic => {
                tracing::error!(namespace, name, "a reconcile panicked; this is a bug");
                let finding = Finding::bad(
                    Reason::InternalError,
                    "internal error of the operator; see its log; the reconcile is retried",
                );
                if let Err(error) = self.say(&object, finding).await {
                    tracing::warn!(%error, "the status was not written");
                }
                memories.with(&object, |memory| memory.cut_off = true);
            }
            Failure::Timeout => {
                tracing::warn!(namespace, name, "a reconcile timed out");
                memories.with(&object, |memory| memory.cut_off = true);
            }
        }
        Next::NotBefore(memories.failed(&object, self.shared().settings.resync_interval))
    }

    fn ended(&self, object: &C::Object, next: Next) -> Option<Duration> {
        let depth = self.shared().semaphore.waiting::<C::Object>();
        self.shared().metrics.queue_depth(C::NAME, depth);
        if next != Next::WhenRoom {
            self.shared().semaphore.cancel(&ObjectKey::of(object));
        }
        let resync = self.memories().until_resync(object).unwrap_or(Duration::MAX);
        match next {
            Next::After(time) => Some(time.min(resync)),
            Next::NotBefore(time) => {
                self.memories().not_before(object, time);
                Some(time.min(resync))
            }
            Next::WhenRoom => Some(ASK_FOR_ROOM),
            Next::Gone => {
                self.leave(object);
                self.memories().forget(&ObjectKey::of(object));
                None
            }
        }
    }
}
