//! Which AWSAccount an object may use, from what is cached; and whether AWS may still be written
//! for it: asked before each write, since what was resolved when the reconcile began may be revoked
//! while it is under way.

use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::conditions::Finding;
use vpce_core::network::Place;
use vpce_core::resolve::{self, Binding, Resolved, Subject};

use super::Bound;
use crate::aws::Permitted;
use crate::settings::Mode;
use crate::shared::Shared;

/// What an object asks for, as resolving sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks<'a> {
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// What it is bound to, if it is.
    pub(crate) binding: Option<&'a Binding>,
    /// `spec.account`.
    pub(crate) account: Option<&'a str>,
    /// `spec.region`.
    pub(crate) region: Option<&'a str>,
    /// Where the spec says that it is.
    pub(crate) place: Place<'a>,
    /// Whether nothing is to be left of it where it is bound.
    pub(crate) leaves: bool,
}

/// Resolves with the AWSAccounts that are known.
pub(crate) fn resolve(shared: &Shared, asks: Asks<'_>) -> Result<Resolved, Finding> {
    let caches = &shared.caches;
    let accounts = match asks.binding {
        Some(binding) => caches.account(&binding.account).into_iter().collect(),
        None => {
            let mut mapping = caches.accounts_mapping(asks.namespace);
            // One that is being deleted takes nobody new.
            mapping.retain(|account| account.metadata.deletion_timestamp.is_none());
            mapping
        }
    };
    let names: Vec<String> = accounts.iter().map(|account| account.name_any()).collect();
    let views: Vec<resolve::Account<'_>> = accounts
        .iter()
        .zip(&names)
        .map(|(account, name)| resolve::Account {
            name,
            spec: account.spec.as_ref().map_err(|unparsed| unparsed.error.as_str()),
        })
        .collect();
    let namespace = caches.namespace(asks.namespace);
    let subject = Subject {
        namespace: asks.namespace,
        labels: namespace.as_deref().map(ResourceExt::labels),
        binding: asks.binding,
        account: asks.account,
        region: asks.region,
        place: asks.place,
        deleting: asks.leaves,
        read_only: shared.settings.mode == Mode::ReadOnly,
    };
    resolve::resolve(subject, &views)
}

/// Resolves again, with the one AWSAccount that the object is bound to. Whatever has changed of
/// what was resolved, its mapping, its guardrails or its tags, the next reconcile starts from it.
/// So it does where the spec was edited: what is made for the former one may have to go, and
/// another leader may look for it already. `account` and `region` are what the spec says.
pub(crate) fn permission<O: Bound>(
    shared: &Arc<Shared>,
    object: &O,
    (account, region): (Option<String>, Option<String>),
    leaves: bool,
    resolved: &Resolved,
) -> Permitted {
    let (shared, resolved) = (shared.clone(), resolved.clone());
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let generation = object.meta().generation;
    Arc::new(move || {
        let newest = O::cached(&shared.caches, &namespace, &name);
        if newest.is_some_and(|newest| newest.meta().generation > generation) {
            return false;
        }
        let asks = Asks {
            namespace: &namespace,
            binding: Some(&resolved.binding),
            account: account.as_deref(),
            region: region.as_deref(),
            // It is bound, and so has its region.
            place: Place::Vpc,
            leaves,
        };
        resolve(&shared, asks).is_ok_and(|now| now == resolved)
    })
}
