//! In-use protection: an AWSAccount carries its finalizer before anything is bound to it, and loses
//! it only while nothing is being bound.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject};
use kube::{Client, ResourceExt};
use moka::future::Cache;
use serde::Deserialize;
use tokio::sync::{RwLock, RwLockReadGuard};
use vpce_core::api::{ACCOUNT_FINALIZER, AccountBinding, bound_kinds};

use super::caches::Account;
use super::writes::{Refused, Write, Writes};
use super::{finalizer, pages};

/// The watch has shown a finalizer long before; should it not, adding it again is a conflict, and
/// tried again.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// Removes no finalizer of an AWSAccount while an object is being bound.
pub(crate) struct Protection {
    client: Client,
    writes: Writes,
    /// The longest wait after a refused write.
    most: Duration,
    /// The kinds that may use one.
    kinds: Vec<ApiResource>,
    /// Read while an object is being bound, written while a finalizer is removed.
    binding: RwLock<()>,
    /// By the version without it: the AWSAccount as it was when it had got its finalizer.
    added: Cache<String, Arc<Account>>,
}

impl Protection {
    /// A write that is refused is tried again after `most` at the latest.
    pub(crate) fn new(client: Client, writes: Writes, most: Duration) -> Self {
        Self {
            client,
            writes,
            most,
            kinds: bound_kinds(),
            binding: RwLock::default(),
            added: Cache::builder().time_to_live(SHOWN_WITHIN).build(),
        }
    }

    /// As long as this is held, no AWSAccount loses its finalizer.
    pub(crate) async fn while_binding(&self) -> RwLockReadGuard<'_, ()> {
        self.binding.read().await
    }

    /// Adds the finalizer, unless it is there. However many ask for it at once, it is added once.
    pub(crate) async fn add_finalizer(&self, account: &Arc<Account>) -> Result<Arc<Account>, kube::Error> {
        if finalizer::has(&**account, ACCOUNT_FINALIZER) {
            return Ok(account.clone());
        }
        let api: Api<Account> = Api::all(self.client.clone());
        let version = account.resource_version().unwrap_or_default();
        let add = async {
            let add = finalizer::add(&api, &**account, ACCOUNT_FINALIZER);
            let mismatch =
                |stored: &Account| (!finalizer::has(stored, ACCOUNT_FINALIZER)).then(|| "without it".to_owned());
            let added = self
                .writes
                .acknowledged(&**account, Write::Finalizer, self.most, add, mismatch);
            added.await.map(Arc::new)
        };
        let added = self.added.try_get_with(version, add).await;
        added.map_err(|shared| match (&*shared, Refused::of(&shared)) {
            (_, Some(refused)) => refused.clone().into(),
            (kube::Error::Api(status), _) => kube::Error::Api(status.clone()),
            _ => kube::Error::Service(Box::new(shared)),
        })
    }

    /// Removes the finalizer of an AWSAccount that is being deleted, if nothing is bound to it;
    /// from then on nothing will be.
    pub(crate) async fn remove_finalizer(&self, account: &Account) -> Result<bool, kube::Error> {
        let _none_is_binding = self.binding.write().await;
        if !self.is_unused(&account.name_any()).await? {
            return Ok(false);
        }
        if finalizer::has(account, ACCOUNT_FINALIZER) {
            let api: Api<Account> = Api::all(self.client.clone());
            let remove = finalizer::remove(&api, account, &[ACCOUNT_FINALIZER]);
            let mismatch = |stored: &Account| finalizer::has(stored, ACCOUNT_FINALIZER).then(|| "with it".to_owned());
            let removed = self
                .writes
                .acknowledged(account, Write::Finalizer, self.most, remove, mismatch);
            removed.await?;
        }
        Ok(true)
    }

    /// Whether the API server agrees that nothing uses an AWSAccount: the cache may be a moment
    /// behind.
    async fn is_unused(&self, account: &str) -> Result<bool, kube::Error> {
        let is_bound = |object: DynamicObject| {
            let binding = AccountBinding::deserialize(&object.data["status"]["account"]);
            binding.is_ok_and(|binding| binding.name == account)
        };
        for kind in &self.kinds {
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), kind);
            if pages::any(&objects, is_bound).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
