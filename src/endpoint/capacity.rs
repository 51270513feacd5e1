//! Which objects may be bound to an AWSAccount that allows only so many endpoints: those that are
//! bound, then the oldest.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use parking_lot::Mutex;
use vpce_core::conditions::{Finding, READY, Reason};
use vpce_core::object_key::ObjectKey;

use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::conditions;

/// Objects that were admitted and whose binding the cache does not show yet.
#[derive(Clone, Default)]
pub(crate) struct CapacityReservations {
    admitted: Arc<Mutex<Admitted>>,
}

#[derive(Default)]
struct Admitted {
    /// By AWSAccount: the objects, by UID.
    objects: HashMap<String, HashMap<String, ObjectKey>>,
    /// By UID: the AWSAccount.
    accounts: HashMap<String, String>,
}

impl CapacityReservations {
    /// Releases the reservation of an object that was admitted and was not bound after all.
    pub(crate) fn release(&self, uid: &str) {
        let mut all = self.admitted.lock();
        let Some(account) = all.accounts.remove(uid) else {
            return;
        };
        if let Some(admitted) = all.objects.get_mut(&account) {
            admitted.remove(uid);
            if admitted.is_empty() {
                all.objects.remove(&account);
            }
        }
    }

    /// Admits an object to be bound, or says that it has to wait; `reserve`: whether capacity is
    /// reserved for it. That is for one of which nothing but the binding is left to be written:
    /// what cannot be bound takes no capacity. Endpoints in AWS that have no object,
    /// `without_object`, take theirs.
    pub(crate) fn admit(
        &self,
        caches: &Caches,
        object: &Endpoint,
        account: &str,
        most: i32,
        without_object: usize,
        reserve: bool,
    ) -> Result<(), Finding> {
        let most = usize::try_from(most).unwrap_or(0);
        let uid = object.uid().unwrap_or_default();
        let mut all = self.admitted.lock();
        let Admitted { objects, accounts } = &mut *all;
        let admitted = objects.entry(account.to_owned()).or_default();
        // Bound meanwhile, or gone: the cache has the word again.
        admitted.retain(|uid, key| {
            let endpoint = caches.endpoint(&key.namespace, &key.name);
            let is_unbound = endpoint
                .is_some_and(|endpoint| endpoint.uid().as_ref() == Some(uid) && endpoint.status.account.is_none());
            if !is_unbound {
                accounts.remove(uid);
            }
            is_unbound
        });
        let room = most.saturating_sub(caches.count_bound_to(account) + admitted.len() + without_object);
        let older = caches
            .waiting_for_room_in(account)
            .iter()
            .filter(|endpoint| waits(caches, endpoint, account))
            .filter(|endpoint| !admitted.contains_key(&endpoint.uid().unwrap_or_default()))
            .filter(|endpoint| age(endpoint) < age(object))
            .count();
        if admitted.contains_key(&uid) {
            return Ok(());
        }
        if older >= room {
            let taken = match without_object {
                0 => String::new(),
                some => format!(" ({some} of them are in AWS without an object: retained, or orphans)"),
            };
            return Err(Finding::bad(
                Reason::AccountFull,
                format!(
                    "AWSAccount {account} allows {most} endpoints, which are all used{taken}: the endpoint is created \
                     when others are deleted, the oldest object first, or when your platform team raises max_endpoints"
                ),
            ));
        }
        if reserve {
            accounts.insert(uid.clone(), account.to_owned());
            admitted.insert(uid, ObjectKey::of(object));
        }
        Ok(())
    }
}

/// Whether an object waits for room in an account: it waits for room, and of those that are bound
/// to none the account is the only one that it can be bound to. (Of several that map its namespace,
/// its spec names one, or it waits for an answer to that instead.)
fn waits(caches: &Caches, endpoint: &Endpoint, account: &str) -> bool {
    let is_full = || {
        let ready = conditions::find(&endpoint.status.conditions, READY);
        ready.is_some_and(|ready| ready.reason == Reason::AccountFull.as_str())
    };
    let named = endpoint.spec.as_ref().ok().and_then(|spec| spec.account.as_deref());
    endpoint.status.account.is_none()
        && endpoint.metadata.deletion_timestamp.is_none()
        && is_full()
        && named.is_none_or(|named| named == account)
        && caches.maps(account, &endpoint.namespace().unwrap_or_default())
}

/// Older is less; of the same second, the UID decides.
fn age(endpoint: &Endpoint) -> (Option<k8s_openapi::jiff::Timestamp>, Option<String>) {
    (
        endpoint.metadata.creation_timestamp.as_ref().map(|time| time.0),
        endpoint.uid(),
    )
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn parsed<K: DeserializeOwned>(objects: Vec<Value>) -> impl Iterator<Item = K> {
        let objects = objects.into_iter();
        objects.map(|object| serde_json::from_value(object).expect("an object"))
    }

    fn endpoint(namespace: &str, name: &str, created: &str, status: Value) -> Value {
        json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint",
            "metadata": {
                "namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "creationTimestamp": created,
            },
            "spec": {
                "vpc_id": "vpc-00000000000000001", "vpc_endpoint_service_id": "com.amazonaws.us-west-2.ecr.api",
                "security_group_type": "generated",
            },
            "status": status,
        })
    }

    fn account(name: &str, namespace: &str) -> Value {
        json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": name},
            "spec": {"role_arn": "arn:aws:iam::111111111111:role/vpce", "namespaces": [namespace]},
        })
    }

    fn full(message: &str) -> Value {
        json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": "AccountFull", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]})
    }

    #[test]
    fn the_oldest_that_waits_for_this_account_goes_first_whatever_its_condition_says_in_words() {
        let younger = endpoint("blue", "younger", "2026-01-03T00:00:00Z", json!({}));
        let caches = |others: Vec<Value>| {
            let (caches, mut writers) = Caches::new();
            writers.endpoints.fill(parsed([others, vec![younger.clone()]].concat()));
            writers
                .accounts
                .fill(parsed(vec![account("one", "blue"), account("two", "red")]));
            writers.namespaces.fill(parsed(vec![
                json!({"metadata": {"name": "blue"}}),
                json!({"metadata": {"name": "red"}}),
            ]));
            caches
        };
        let admitted = |others: Vec<Value>| {
            let caches = caches(others);
            let younger = caches.endpoint("blue", "younger").expect("stored");
            CapacityReservations::default()
                .admit(&caches, &younger, "one", 1, 0, true)
                .is_ok()
        };
        let older = |namespace: &str, status: Value| endpoint(namespace, "older", "2026-01-02T00:00:00Z", status);
        for words in ["AWSAccount one allows 1 endpoints, which are all used", "no room", ""] {
            assert!(!admitted(vec![older("blue", full(words))]), "{words:?}");
        }
        // It waits for another account, or for something else.
        for words in [
            "AWSAccount two allows 1 endpoints, which are all used",
            "AWSAccount one is full",
            "",
        ] {
            assert!(admitted(vec![older("red", full(words))]), "{words:?}");
        }
        assert!(admitted(vec![older("blue", json!({}))]));
        // It has its place.
        let bound = json!({"account": {"name": "one", "account_id": "111111111111"}});
        assert!(!admitted(vec![older("blue", bound)]));
    }
}
