//! Who may be bound to an AWSAccount that allows only so many endpoints: who is bound keeps its place, then the oldest.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use vpce_core::conditions::{Finding, Reason};

use super::status::READY;
use crate::account::is_bound_to;
use crate::context::{Caches, Endpoint};

/// Bindings that were let through and that the cache does not show yet, by AWSAccount: the UIDs of the objects.
#[derive(Clone, Default)]
pub struct Admissions {
    let_through: Arc<Mutex<HashMap<String, HashSet<String>>>>,
}

impl Admissions {
    /// Lets an object through to be bound, or says that it has to wait; `claim`: whether its place is kept for it.
    pub fn admit(
        &self,
        caches: &Caches,
        object: &Endpoint,
        account: &str,
        most: i32,
        claim: bool,
    ) -> Result<(), Finding> {
        let most = usize::try_from(most).unwrap_or(0);
        let uid = object.uid().unwrap_or_default();
        let mut all = self.let_through.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = caches.endpoints.state();
        let let_through = all.entry(account.to_owned()).or_default();
        // Bound meanwhile, or gone: the cache has the word again.
        let_through.retain(|uid| {
            endpoints
                .iter()
                .any(|endpoint| endpoint.uid().as_ref() == Some(uid) && endpoint.status.account.is_none())
        });
        let bound = endpoints.iter().filter(|endpoint| is_bound_to(endpoint, account));
        let room = most.saturating_sub(bound.count() + let_through.len());
        let older = endpoints
            .iter()
            .filter(|endpoint| waits(endpoint, account) && !let_through.contains(&endpoint.uid().unwrap_or_default()))
            .filter(|endpoint| age(endpoint) < age(object))
            .count();
        if let_through.contains(&uid) {
            return Ok(());
        }
        if older >= room {
            return Err(Finding::bad(
                Reason::AccountFull,
                format!(
                    "AWSAccount {account} allows {most} endpoints and has no room: it is made when others are deleted, the \
                     oldest first, or when your platform team raises max_endpoints"
                ),
            ));
        }
        if claim {
            let_through.insert(uid);
        }
        Ok(())
    }
}

/// The objects that wait for room, in any account, as namespace and name.
pub fn waiting(caches: &Caches) -> Vec<(String, String)> {
    let endpoints = caches.endpoints.state();
    let full = |endpoint: &&Arc<Endpoint>| {
        let mut conditions = endpoint.status.conditions.iter();
        conditions.any(|condition| condition.reason == Reason::AccountFull.as_str())
    };
    let key = |endpoint: &Arc<Endpoint>| (endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    endpoints.iter().filter(full).map(key).collect()
}

/// Whether an object waits for room in an account, as far as its own last word goes.
fn waits(endpoint: &Endpoint, account: &str) -> bool {
    let ready = endpoint
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY);
    endpoint.status.account.is_none()
        && endpoint.metadata.deletion_timestamp.is_none()
        && ready.is_some_and(|ready| {
            ready.reason == Reason::AccountFull.as_str() && ready.message.starts_with(&format!("AWSAccount {account} "))
        })
}

/// Older is less; of the same second, the UID decides.
fn age(endpoint: &Endpoint) -> (Option<k8s_openapi::jiff::Timestamp>, Option<String>) {
    (
        endpoint.metadata.creation_timestamp.as_ref().map(|time| time.0),
        endpoint.uid(),
    )
}
