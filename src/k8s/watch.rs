//! Watches that go on after errors.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use crate::telemetry::Metrics;

/// A watch that counts its errors and starts again after them: whoever reads it passes over them,
/// and never ends.
pub(crate) fn watch_kind<K>(
    metrics: &Metrics,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = K::kind(&());
    metrics.watch_started(&kind);
    let metrics = metrics.clone();
    let watching = move |watch: Option<BoxStream<'static, _>>| {
        let mut watch = watch.unwrap_or_else(|| watcher(api.clone(), config.clone()).boxed());
        async move {
            let event = watch.next().await?;
            // When an event says that the version has expired, kube's watcher lists again; when the
            // HTTP status says so, it repeats the same request for ever.
            let gone = matches!(
                &event,
                Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410
            );
            Some((event, (!gone).then_some(watch)))
        }
    };
    stream::unfold(None, watching)
        .inspect_err(move |error| {
            metrics.watch_error(&kind);
            tracing::warn!(%kind, %error, "a watch failed; it is restarted");
        })
        .default_backoff()
}
