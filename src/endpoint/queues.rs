//! What is gone, or has nothing to do in AWS any more, leaves every queue at once: its turns are those of others.

use kube::ResourceExt;

use crate::context::Context;
use crate::k8s::caches::Endpoint;

/// The object is gone: it leaves the gate of its AWS account and the lines of its region.
pub fn leave(ctx: &Context, object: &Endpoint) {
    ctx.semaphore
        .leave(&object.namespace().unwrap_or_default(), &object.name_any());
    ctx.capacity.release(&object.uid().unwrap_or_default());
    leave_lines(ctx, object, false);
}

/// It wants nothing in AWS that it had a place in a line for.
pub fn has_settled(ctx: &Context, object: &Endpoint) {
    leave_lines(ctx, object, false);
}

/// Its deletion was asked for: what it waited to create it does not want any more. (What is deleted of it then has its own lines.)
pub fn is_being_deleted(ctx: &Context, object: &Endpoint) {
    leave_lines(ctx, object, true);
}

fn leave_lines(ctx: &Context, object: &Endpoint, deleted: bool) {
    let key = ctx.memories.leave_lines(object, deleted);
    if let Some(region) = key.and_then(|key| ctx.regions.find(&key)) {
        region.cancel(&object.uid().unwrap_or_default());
    }
}
