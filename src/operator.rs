//! The composition root: clients, caches, controllers, HTTP server, and the order of starting and
//! stopping.

use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::Uri;
use futures::{FutureExt, StreamExt, TryStreamExt};
use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::client::ClientBuilder;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates};
use kube::{Client, Config, ResourceExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use vpce_core::ids::EndpointId;
use vpce_core::rate::Limits;
use vpce_core::tags::Clusters;

use crate::account;
use crate::aws::observer::{CallRecord, Observer};
use crate::aws::region::orphans::Present;
use crate::aws::region::{AccountRegionKey, AccountRegions};
use crate::aws::semaphore::AccountSemaphore;
use crate::aws::{self, sessions};
use crate::bound::announced::PlannedChanges;
use crate::bound::memories::Memories;
use crate::endpoint;
use crate::endpoint::reference::publishes_addresses;
use crate::endpoint::status::binding;
use crate::endpoint_service;
use crate::k8s::caches::{Account, CacheWriter, CacheWriters, Caches, Endpoint, EndpointService, NamespaceMeta};
use crate::k8s::events::Events;
use crate::k8s::in_use::Protection;
use crate::k8s::lease::{self, Leadership, LeaseConfig, Lost};
use crate::k8s::pages;
use crate::k8s::requeue::Requeuer;
use crate::k8s::watch::watch_kind;
use crate::k8s::writes::Writes;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::telemetry::kubernetes::CountRequests;
use crate::telemetry::logging::{self, LogLevel};
use crate::telemetry::traces::Traces;
use crate::telemetry::{self, Access, AdminAddress, Heartbeat, Metrics, MetricsOptions, RegionGauges, Sources};

/// How long an ordinary request to the API server may take; watches are renewed by the server
/// before this.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// How long connecting to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Kubernetes gives a pod 30 s to stop; what still runs after this is cut off.
const STOP_WITHIN: Duration = Duration::from_secs(25);
/// The process counts as dead when its main loop has not turned for this long.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(60);
/// How often the main loop turns.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The commit that the operator is built from, which the Dockerfile says.
const REVISION: &str = match option_env!("VPCE_REVISION") {
    Some(revision) => revision,
    None => "development",
};

/// The operator's version and the commit, for `--version`.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| format!("{} ({REVISION})", env!("CARGO_PKG_VERSION")));
    &VERSION
}

/// Two must never lead at once.
const LOST: &str = "no longer the leader; the process exits, and the next leader continues";

/// Runs the operator until it is told to stop.
pub(crate) fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let traces = Traces::from_environment(settings.pod_name.as_deref(), runtime.handle(), aws::http::connector)
        .context("cannot trace")?;
    let level = logging::init(settings.log_format, &settings.log_level, traces.as_ref()).context("cannot log")?;
    let result = runtime.block_on(serve(settings, level));
    if let (Some(traces), Ok(())) = (traces, &result) {
        traces.stop();
    }
    // Who has lost the Lease waits for nothing.
    runtime.shutdown_background();
    result
}

async fn serve(settings: Settings, level: LogLevel) -> anyhow::Result<()> {
    let metrics = Metrics::new(MetricsOptions {
        per_object: settings.metrics_per_object,
        version: env!("CARGO_PKG_VERSION"),
        revision: REVISION,
    });
    let (stop, stopped) = watch::channel(false);
    let (ready_tx, ready_rx) = watch::channel(false);
    let listener = listen(settings.health_address, "--health-address").await?;
    let scraped = listen(settings.metrics_address, "--metrics-address").await?;
    let health = tokio::spawn(telemetry::health::serve(
        listener,
        start_heartbeat(),
        ready_rx,
        until(stopped.clone()),
    ));
    if let AdminAddress::At(address) = settings.admin_address {
        let listener = listen(address, "--admin-address").await?;
        tokio::spawn(telemetry::admin::serve(listener, level, until(stopped.clone())));
    }
    let client = kubernetes(&metrics).await?;
    let scrapes = tokio::spawn(telemetry::scrape::serve(
        scraped,
        tls(&settings)?,
        metrics.clone(),
        settings.metrics_auth.then(|| Access::new(client.clone())),
        until(stopped.clone()),
    ));
    let served = async move {
        for server in [health, scrapes] {
            server
                .await
                .context("an HTTP server failed")?
                .context("an HTTP server failed")?;
        }
        anyhow::Ok(())
    };
    let (clusters, cluster_since) = clusters(&settings, &client).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster = clusters.own, adopt_from = ?clusters.former, "starting");
    let terminated = terminated()?;
    tokio::pin!(terminated);
    let mut leadership = tokio::select! {
        leadership = lead(&settings, &client, &ready_tx) => leadership,
        () = &mut terminated => {
            stop.send_replace(true);
            return served.await;
        }
    };
    let controllers = start(
        settings,
        client,
        (clusters, cluster_since),
        &metrics,
        stopped,
        ready_tx.clone(),
    )
    .await?;
    tokio::select! {
        () = &mut terminated => {}
        lost = keep(&mut leadership) => return Err(lost).context(LOST),
    }
    tracing::info!("stopping: finishing what is in progress");
    let _ = ready_tx.send(false);
    stop.send_replace(true);
    tokio::select! {
        ended = tokio::time::timeout(STOP_WITHIN, controllers) => if ended.is_err() {
            tracing::warn!("some work was interrupted; it continues after the next start");
        },
        lost = keep(&mut leadership) => return Err(lost).context(LOST),
    }
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    served.await?;
    tracing::info!("stopped");
    Ok(())
}

/// A heartbeat that shows that tasks of this runtime still run.
fn start_heartbeat() -> Heartbeat {
    let heartbeat = Heartbeat::new(HEARTBEAT_LIMIT);
    let beating = heartbeat.clone();
    tokio::spawn(async move {
        loop {
            beating.beat();
            tokio::time::sleep(HEARTBEAT).await;
        }
    });
    heartbeat
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address} ({flag})"))
}

/// How /metrics is served.
fn tls(settings: &Settings) -> anyhow::Result<Option<TlsAcceptor>> {
    if !settings.metrics_tls {
        return Ok(None);
    }
    let acceptor = telemetry::tls::acceptor(settings.metrics_certificate_dir.clone());
    acceptor.map(Some).context("cannot serve /metrics over HTTPS")
}

/// Waits to be the one replica that works, where there is an election. A replica that waits is as
/// ready as it can be.
async fn lead(settings: &Settings, client: &Client, ready: &watch::Sender<bool>) -> Option<Leadership> {
    let (Some(namespace), Some(pod)) = (&settings.lease_namespace, &settings.pod_name) else {
        tracing::warn!("no election: there must be no other process of this operator (--lease-namespace, --pod-name)");
        return None;
    };
    let terms = LeaseConfig {
        namespace: namespace.clone(),
        name: settings.lease_name.clone(),
        pod: pod.clone(),
        duration: settings.lease_duration,
    };
    let waiting = || {
        ready.send_replace(true);
    };
    Some(lease::acquire(client.clone(), terms, waiting).await)
}

/// Ends when the Lease is lost; never where there is no election.
async fn keep(leadership: &mut Option<Leadership>) -> Lost {
    match leadership {
        Some(leadership) => leadership.keep().await,
        None => pending().await,
    }
}

/// Ends once the operator is to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender goes only when the process does.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Ends once the process is asked to stop; it is listened for from the call on.
fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

pub(crate) async fn kubernetes(metrics: &Metrics) -> anyhow::Result<Client> {
    let mut config = Config::infer()
        .await
        .context("no Kubernetes: neither KUBECONFIG nor a ServiceAccount")?;
    honour_no_proxy(&mut config);
    config.read_timeout = Some(READ_TIMEOUT);
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok(ClientBuilder::try_from(config)
        .context("cannot make a Kubernetes client")?
        .with_layer(&CountRequests::new(metrics.clone()))
        .build())
}

/// The cluster, and those that it takes over from; and when it was made, in seconds since 1970.
pub(crate) type KnownClusters = (Clusters, Option<i64>);

/// Reads which cluster this is.
pub(crate) async fn clusters(settings: &Settings, client: &Client) -> anyhow::Result<KnownClusters> {
    let system = kube_system(client).await?;
    let own = match &settings.cluster_id {
        Some(id) => id.clone(),
        None => system.uid().context("the namespace kube-system has no UID")?,
    };
    let clusters = Clusters {
        former: settings.adopt_from.iter().filter(|id| **id != own).cloned().collect(),
        own,
    };
    let since = system.creation_timestamp().map(|time| time.0.as_second());
    Ok((clusters, since))
}

/// `NO_PROXY` spares the hosts that are called. kube 5.0 compares it with the proxy's own address;
/// a proxy that the kubeconfig itself names stays. In a cluster kube asks no proxy in any case.
fn honour_no_proxy(config: &mut Config) {
    let named: Vec<String> = ["HTTPS_PROXY", "https_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .collect();
    let is_of_environment = |proxy: &Uri| {
        named
            .iter()
            .any(|named| named.parse::<Uri>().is_ok_and(|named| named == *proxy))
    };
    if config.proxy_url.as_ref().is_some_and(is_of_environment)
        && Matcher::from_env().intercept(&config.cluster_url).is_none()
    {
        config.proxy_url = None;
    }
}

/// Its UID lives as long as the cluster does.
async fn kube_system(client: &Client) -> anyhow::Result<PartialObjectMeta<Namespace>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await;
    system.context("cannot read the namespace kube-system, whose age and UID identify the cluster")
}

/// What controllers share, over these caches.
pub(crate) async fn shared(
    settings: Settings,
    client: Client,
    (clusters, cluster_since): KnownClusters,
    caches: Caches,
    metrics: &Metrics,
) -> Shared {
    let requeuer = Requeuer::default();
    let writes = Writes::default();
    let semaphore = {
        let requeuer = requeuer.clone();
        AccountSemaphore::new(settings.account_concurrency, Arc::new(move |key| requeuer.requeue(key)))
    };
    Shared {
        sessions: open_sessions(&settings, metrics).await,
        regions: open_regions(&settings, &clusters, &caches, &requeuer, metrics),
        observer: observer(metrics),
        events: Events::new(client.clone()),
        semaphore,
        protection: Protection::new(client.clone(), writes.clone(), settings.resync_interval),
        metrics: metrics.clone(),
        client,
        writes,
        requeuer,
        clusters,
        cluster_since,
        caches,
        settings,
    }
}

/// Starts watches and controllers; the future ends when the controllers have.
async fn start(
    settings: Settings,
    client: Client,
    clusters: KnownClusters,
    metrics: &Metrics,
    stopped: watch::Receiver<bool>,
    ready_tx: watch::Sender<bool>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let (caches, writers) = Caches::new();
    let CacheWriters {
        endpoints,
        endpoint_services,
        accounts,
        namespaces,
        services,
        slices,
        dns_endpoints,
    } = writers;
    let shared = Arc::new(shared(settings, client.clone(), clusters, caches, metrics).await);
    let endpoint_ctx = Arc::new(endpoint::context::Context::new(shared.clone()));
    let service_ctx = Arc::new(endpoint_service::context::Context::new(shared.clone()));
    let planned = (endpoint_ctx.memories.clone(), service_ctx.memories.clone());
    metrics.attach(sources(&shared, planned));
    tokio::spawn(watch_namespaces(shared.clone(), namespaces));
    let stop = until(stopped).shared();
    let mut controllers = JoinSet::new();
    controllers.spawn(account::controller::run(shared.clone(), accounts, stop.clone()));
    controllers.spawn(endpoint::controller::run(
        endpoint_ctx,
        endpoints,
        (services, slices, dns_endpoints),
        stop.clone(),
    ));
    controllers.spawn(endpoint_service::controller::run(service_ctx, endpoint_services, stop));
    tokio::spawn(async move {
        shared.caches.filled().await;
        tracing::info!("caches are filled");
        shared.metrics.leader(true);
        ready_tx.send_replace(true);
    });
    Ok(async move {
        while let Some(ended) = controllers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a controller failed");
            }
        }
    })
}

/// A namespace whose labels changed may be mapped otherwise.
async fn watch_namespaces(shared: Arc<Shared>, mut writer: CacheWriter<NamespaceMeta>) {
    let api: Api<NamespaceMeta> = Api::all(shared.client.clone());
    watch_kind(&shared.metrics, api, pages::of_watches())
        .modify(|namespace| {
            let ObjectMeta {
                name,
                uid,
                resource_version,
                labels,
                ..
            } = std::mem::take(&mut namespace.metadata);
            namespace.metadata = ObjectMeta {
                name,
                uid,
                resource_version,
                labels,
                ..ObjectMeta::default()
            };
        })
        .inspect_ok(move |event| writer.apply(event))
        .touched_objects()
        .predicate_filter(predicates::labels, PredicateConfig::default())
        .filter_map(|namespace| ready(namespace.ok()))
        .for_each(|namespace| {
            shared.requeuer.namespace_changed(&namespace.name_any());
            ready(())
        })
        .await;
}

fn observer(metrics: &Metrics) -> Observer {
    let metrics = metrics.clone();
    Arc::new(move |call: &CallRecord<'_>| {
        metrics.aws_request(
            call.account_id,
            call.region,
            call.service,
            call.action,
            call.error,
            call.seconds,
        );
    })
}

async fn open_sessions(settings: &Settings, metrics: &Metrics) -> sessions::Sessions {
    let base = aws::http::sdk_config().await;
    if base.region().is_none_or(|region| region.as_ref().is_empty()) {
        tracing::error!(
            "no AWS region is configured for STS, so that no role can be assumed: set settings.awsRegion of \
             the Helm chart, or AWS_REGION"
        );
    }
    let sessions = sessions::Settings {
        refused_retry: settings.refused_retry,
    };
    sessions::Sessions::new(&base, sessions, observer(metrics))
}

fn open_regions(
    settings: &Settings,
    clusters: &Clusters,
    caches: &Caches,
    requeuer: &Requeuer,
    metrics: &Metrics,
) -> AccountRegions {
    let (caches, requeuer, metrics) = (caches.clone(), requeuer.clone(), metrics.clone());
    let (claims, headless) = (caches.clone(), caches.clone());
    AccountRegions::new(aws::region::Settings {
        clusters: clusters.clone(),
        poll: settings.poll_interval,
        settle: settings.settle,
        resync: settings.resync_interval,
        refreshes_per_minute: settings.refreshes_per_minute,
        limits: Arc::new(Limits::new(settings.aws_limits.iter().cloned())),
        requeue: {
            let requeuer = requeuer.clone();
            Arc::new(move |key| requeuer.requeue(key))
        },
        enqueue: Arc::new(move |key| requeuer.enqueue(key)),
        known: Arc::new(move |key| known_endpoints(&caches, key)),
        headless: Arc::new(move |key| headless_endpoints(&headless, key)),
        claims: Arc::new(move |key| Present::of(&claims, &key.account_id)),
        waited: Arc::new(move |action, seconds| metrics.aws_queue_wait(action, seconds)),
    })
}

/// The endpoints that objects have in a region, by their status, but for those that are being
/// deleted, and those whose namespace may not use the account: whoever writes a status by mistake
/// of RBAC holds nobody else's creates with it.
fn known_endpoints(caches: &Caches, key: &AccountRegionKey) -> Vec<EndpointId> {
    let of_region = |endpoint: &Arc<Endpoint>| {
        let binding = binding(&endpoint.status)?;
        let here = binding.account_id == key.account_id && binding.region == key.region;
        let stays = endpoint.metadata.deletion_timestamp.is_none();
        let id = endpoint.status.vpc_endpoint_id.as_deref()?;
        let namespace = endpoint.metadata.namespace.as_deref().unwrap_or_default();
        (here && stays && caches.maps(&binding.account, namespace)).then(|| id.into())
    };
    let bound = caches.bound_to_account_id(key.account_id.as_str());
    bound.iter().filter_map(of_region).collect()
}

/// The endpoints in a region that headless Services lead to, whose addresses are read together.
fn headless_endpoints(caches: &Caches, key: &AccountRegionKey) -> Vec<EndpointId> {
    let of_region = |endpoint: &Arc<Endpoint>| {
        let here = endpoint.status.region.as_deref() == Some(key.region.as_str());
        let stays = endpoint.metadata.deletion_timestamp.is_none();
        (here && stays && publishes_addresses(caches, endpoint)).then_some(())?;
        endpoint.status.vpc_endpoint_id.as_deref().map(Into::into)
    };
    let bound = caches.bound_to_account_id(key.account_id.as_str());
    bound.iter().filter_map(of_region).collect()
}

fn sources(shared: &Arc<Shared>, (endpoints, services): (Memories<Endpoint>, Memories<EndpointService>)) -> Sources {
    let regions = shared.clone();
    let (sessions, resyncs) = (shared.clone(), shared.clone());
    Sources {
        resync_interval: Arc::new(move || resyncs.resync_interval()),
        planned_changes: Arc::new(move || {
            let steps = |planned: PlannedChanges| {
                planned
                    .actions
                    .into_iter()
                    .map(move |action| (planned.account.clone(), action))
            };
            let planned = endpoints
                .planned_changes()
                .into_iter()
                .chain(services.planned_changes());
            planned.flat_map(steps).collect()
        }),
        endpoints: {
            let caches = shared.caches.clone();
            Arc::new(move || caches.endpoints())
        },
        endpoint_services: {
            let caches = shared.caches.clone();
            Arc::new(move || caches.endpoint_services())
        },
        accounts: {
            let caches = shared.caches.clone();
            Arc::new(move || caches.accounts())
        },
        regions: Arc::new(move || {
            let gauges = |region: &Arc<aws::region::AccountRegion>| {
                let gauges = region.gauges();
                RegionGauges {
                    account_id: region.key.account_id.to_string(),
                    region: region.key.region.to_string(),
                    snapshot_at: gauges.snapshot_at,
                    paused: gauges.paused.is_some(),
                    orphans: region.orphan_counts(),
                    limiters: gauges.limiters,
                }
            };
            regions.regions.all().iter().map(gauges).collect()
        }),
        sessions: Arc::new(move || {
            let expirations = sessions.sessions.expirations();
            let expiration = |account: &Arc<Account>| {
                let role = account::role(&sessions, account)?;
                Some((account.name_any(), *expirations.get(&role)?))
            };
            sessions.caches.accounts().iter().filter_map(expiration).collect()
        }),
    }
}
