//! What the subcommands that look at a cluster have in common: its objects, read once, and the
//! operator's own parts over them.

use std::fmt::Debug;
use std::future::Future;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api;
use serde::de::DeserializeOwned;

use crate::k8s::caches::{CacheWriters, Caches, NamespaceMeta};
use crate::k8s::pages;
use crate::operator::{self, KnownClusters};
use crate::settings::{Mode, Settings};
use crate::shared::Shared;
use crate::telemetry::{Metrics, MetricsOptions};

/// Runs a subcommand to its end.
pub(super) fn block_on(subcommand: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(subcommand)
}

/// The settings of a dry run: what would be done is asked, whatever the operator itself may do.
pub(super) fn of_dry_run(settings: Settings) -> Settings {
    Settings {
        mode: Mode::ReadWrite,
        ..settings
    }
}

/// A cluster, and how the operator runs in it.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) clusters: KnownClusters,
    settings: Settings,
    metrics: Metrics,
}

impl Connection {
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let (client, metrics) = kubernetes().await?;
        let clusters = operator::clusters(&settings, &client).await?;
        Ok(Self {
            client,
            clusters,
            settings,
            metrics,
        })
    }

    /// One namespace, with its labels.
    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<Option<NamespaceMeta>> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = api.get_metadata_opt(name).await;
        found.with_context(|| format!("cannot read the namespace {name}"))
    }

    /// The operator's parts, over these caches.
    pub(super) async fn shared(self, caches: Caches) -> Shared {
        operator::shared(self.settings, self.client, self.clusters, caches, &self.metrics).await
    }
}

/// A client with the user's rights, and the metrics that count its requests.
pub(super) async fn kubernetes() -> anyhow::Result<(Client, Metrics)> {
    let metrics = Metrics::new(MetricsOptions {
        per_object: false,
        version: "",
        revision: "",
    });
    Ok((operator::kubernetes(&metrics).await?, metrics))
}

/// Caches that hold the objects of our kinds, as they are now.
pub(super) async fn caches(client: &Client) -> anyhow::Result<(Caches, CacheWriters)> {
    let (caches, mut writers) = Caches::new();
    let endpoints = listed(Api::all(client.clone()), "VPCEndpoints").await?;
    writers.endpoints.fill(endpoints);
    let services = listed(Api::all(client.clone()), "VPCEndpointServices").await?;
    writers.endpoint_services.fill(services);
    let accounts = listed(Api::all(client.clone()), "AWSAccounts").await?;
    writers.accounts.fill(accounts);
    Ok((caches, writers))
}

/// All objects of a kind.
pub(super) async fn listed<K>(api: Api<K>, kinds: &str) -> anyhow::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let listed = pages::all(&api).await;
    listed.with_context(|| format!("cannot list {kinds}"))
}
