//! What an object takes of what is shared by many, and gives back: what is gone, or has nothing to
//! do in AWS any more, leaves every queue at once, and its reservations go to others.

use kube::ResourceExt;
use vpce_core::object_key::ObjectKey;

use super::Bound;
use super::memories::Memories;
use crate::shared::Shared;

/// The object is gone: it leaves the semaphore of its AWS account and the rate limiter's queues.
pub(crate) fn leave<O: Bound>(shared: &Shared, memories: &Memories<O>, object: &O) {
    shared.semaphore.cancel(&ObjectKey::of(object));
    cancel_reservation(shared, memories, object, false);
}

/// It wants nothing in AWS that it had a reservation for. `deleted`: since its deletion was asked
/// for, so that it does not want any more what it waited to create; what is deleted of it then has
/// its own reservations.
pub(crate) fn cancel_reservation<O: Bound>(shared: &Shared, memories: &Memories<O>, object: &O, deleted: bool) {
    let key = memories.take_reservation(object, deleted);
    if let Some(region) = key.and_then(|key| shared.regions.find(&key)) {
        region.cancel(&object.uid().unwrap_or_default());
    }
}
