//! IAM: what policy documents say to a request.
//!
//! A document is read strictly when it is set: what the simulator cannot evaluate (an operator, a
//! form of condition key, a policy variable) is refused, since a condition that is passed over
//! would make a policy look safer than it is.

mod authorize;
mod condition;
mod evaluate;
mod pattern;
mod policy;
mod request;
mod trust;

pub(crate) use authorize::authorize;
pub(crate) use policy::{Kind, Policy};
pub(crate) use request::{Keys, Request};
pub(crate) use trust::{Attempt, may_assume};
