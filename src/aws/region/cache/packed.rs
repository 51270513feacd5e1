//! A resource in few bytes: a region may hold thousands, which are seldom looked at. As its own
//! types an endpoint takes several kilobytes, most of them the nodes of maps with few entries.

use std::marker::PhantomData;

use super::Resource;

/// A resource in few bytes, and what is asked of each again and again.
#[derive(Debug, Clone)]
pub(super) struct Packed<R> {
    bytes: Box<[u8]>,
    /// See [`Resource::is_gone`].
    pub(super) is_gone: bool,
    /// See [`Resource::is_transitional`].
    pub(super) is_transitional: bool,
    /// See [`Resource::is_leaving`].
    pub(super) is_leaving: bool,
    resource: PhantomData<R>,
}

impl<R: Resource> Packed<R> {
    pub(super) fn pack(resource: &R) -> Self {
        let bytes = postcard::to_allocvec(resource).expect("what EC2 describes has no type that cannot be written");
        Self {
            bytes: bytes.into_boxed_slice(),
            is_gone: resource.is_gone(),
            is_transitional: resource.is_transitional(),
            is_leaving: resource.is_leaving(),
            resource: PhantomData,
        }
    }

    pub(super) fn unpack(&self) -> R {
        postcard::from_bytes(&self.bytes).expect("it was written by the same types")
    }
}
