//! In-use protection: an AWSAccount carries its finalizer before anything is bound to it, and is let go only while nothing is being bound.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::Api;
use moka::future::Cache;
use tokio::sync::{RwLock, RwLockReadGuard};
use vpce_core::api::ACCOUNT_FINALIZER;

use crate::context::Context;
use crate::k8s::caches::{Account, Endpoint};
use crate::k8s::writes::{Refused, Write};
use crate::k8s::{finalizer, pages};

/// The watch has shown a finalizer long before; should it not, adding it again is a conflict, and tried anew.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// What binds endpoints and what lets AWSAccounts go keep out of each other's way by this.
pub struct Protection {
    door: RwLock<()>,
    /// By the version without it: the AWSAccount as it was when it had got its finalizer.
    added: Cache<String, Arc<Account>>,
}

impl Default for Protection {
    fn default() -> Self {
        Self {
            door: RwLock::default(),
            added: Cache::builder().time_to_live(SHOWN_WITHIN).build(),
        }
    }
}

impl Protection {
    /// As long as this is held, no AWSAccount is let go.
    pub async fn while_binding(&self) -> RwLockReadGuard<'_, ()> {
        self.door.read().await
    }
}

/// Adds the finalizer, unless it is there. However many ask for it at once, it is added once.
pub async fn protect(ctx: &Context, account: &Arc<Account>) -> Result<Arc<Account>, kube::Error> {
    if finalizer::has(&**account, ACCOUNT_FINALIZER) {
        return Ok(account.clone());
    }
    let api: Api<Account> = Api::all(ctx.client.clone());
    let version = account.resource_version().unwrap_or_default();
    let add = async {
        let add = finalizer::add(&api, &**account, ACCOUNT_FINALIZER);
        let amiss = |stored: &Account| (!finalizer::has(stored, ACCOUNT_FINALIZER)).then(|| "without it".to_owned());
        let most = ctx.settings.resync_interval;
        let added = ctx.writes.acknowledged(&**account, Write::Finalizer, most, add, amiss);
        added.await.map(Arc::new)
    };
    let added = ctx.protection.added.try_get_with(version, add).await;
    added.map_err(|shared| match (&*shared, Refused::of(&shared)) {
        (_, Some(refused)) => refused.clone().into(),
        (kube::Error::Api(status), _) => kube::Error::Api(status.clone()),
        _ => kube::Error::Service(Box::new(shared)),
    })
}

/// Drops the finalizer of an AWSAccount that is being deleted, if nobody is bound to it; from then on nobody will be.
pub async fn let_go(ctx: &Context, account: &Account) -> Result<bool, kube::Error> {
    let _nothing_is_bound = ctx.protection.door.write().await;
    if !nobody_bound(ctx, &account.name_any()).await? {
        return Ok(false);
    }
    if finalizer::has(account, ACCOUNT_FINALIZER) {
        let api: Api<Account> = Api::all(ctx.client.clone());
        let remove = finalizer::remove(&api, account, ACCOUNT_FINALIZER);
        let amiss = |stored: &Account| finalizer::has(stored, ACCOUNT_FINALIZER).then(|| "with it".to_owned());
        let most = ctx.settings.resync_interval;
        let removed = ctx.writes.acknowledged(account, Write::Finalizer, most, remove, amiss);
        removed.await?;
    }
    Ok(true)
}

/// Whether the API server agrees that nobody uses an AWSAccount: the cache may be a moment behind.
async fn nobody_bound(ctx: &Context, account: &str) -> Result<bool, kube::Error> {
    let endpoints: Api<Endpoint> = Api::all(ctx.client.clone());
    let all = pages::all(&endpoints).await?;
    Ok(!all.iter().any(|endpoint| super::is_bound_to(endpoint, account)))
}
