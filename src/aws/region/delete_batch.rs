//! Deletes endpoints in batches: deletes are collected for a moment and sent in one
//! DeleteVpcEndpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Instrument;
use vpce_core::error::Class;
use vpce_core::ids::EndpointId;
use vpce_core::object_key::ObjectKey;
use vpce_core::plan::{Outcome, Step};
use vpce_core::rate::Decision;

use super::AccountRegion;
use super::limiter::Caller;
use crate::aws::Permitted;
use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;
use crate::telemetry::traces::Cause;

/// The EC2 action.
pub(super) const ACTION: &str = "DeleteVpcEndpoints";
/// How long deletes gather before the first of them asks for a token.
const GATHER: Duration = Duration::from_secs(1);
/// The reference names no limit of ids in a call; so many are sent at most.
const MOST_IDS: usize = 25;
/// After a call that failed in passing.
const RETRY: Duration = Duration::from_secs(2);

/// The object whose endpoint is deleted, to be requeued when AWS has answered.
#[derive(Debug, Clone)]
pub(crate) struct Requester {
    pub(crate) object: ObjectKey,
    /// The AWSAccount's name, for the log.
    pub(crate) account: String,
}

#[derive(Clone)]
struct PendingDelete {
    requester: Requester,
    ec2: Ec2,
    role: String,
    permitted: Permitted,
    /// AWS refused a call that had it among others.
    alone: bool,
    since: Instant,
    /// The reconcile that asked, in traces.
    cause: Cause,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<EndpointId, PendingDelete>,
    /// Those of the call that AWS has not answered yet.
    sent: BTreeSet<EndpointId>,
    running: bool,
    refused: HashMap<EndpointId, CallError>,
}

/// The deletes of one region.
#[derive(Default)]
pub(crate) struct DeleteBatcher {
    queue: Mutex<Queue>,
}

impl DeleteBatcher {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock())
    }

    pub(super) fn len(&self) -> usize {
        self.with(|queue| queue.waiting.len())
    }

    pub(super) fn take_refusal(&self, id: &EndpointId) -> Option<CallError> {
        self.with(|queue| queue.refused.remove(id))
    }

    pub(super) fn add(
        region: &Arc<AccountRegion>,
        ec2: &Ec2,
        role: &str,
        id: &EndpointId,
        requester: Requester,
        permitted: Permitted,
    ) {
        // Its object was reconciled from what the snapshot said before AWS answered.
        if region.endpoints(|endpoints| endpoints.is_leaving(id)) {
            (region.settings.enqueue)(requester.object);
            return;
        }
        let start = region.deletes.with(|queue| {
            if queue.sent.contains(id) {
                return false;
            }
            queue.waiting.entry(id.clone()).or_insert_with(|| PendingDelete {
                requester,
                ec2: ec2.clone(),
                role: role.to_owned(),
                permitted,
                alone: false,
                since: Instant::now(),
                cause: Cause::current(),
            });
            !std::mem::replace(&mut queue.running, true)
        });
        if start {
            tokio::spawn(run(region.clone()));
        }
    }

    /// Takes the next batch: round-robin by namespace, of one role; a single delete if AWS refused
    /// it among others.
    fn take_batch(&self) -> Vec<(EndpointId, PendingDelete)> {
        self.with(|queue| {
            let mut by_namespace: BTreeMap<&str, Vec<&EndpointId>> = BTreeMap::new();
            for (id, pending) in &queue.waiting {
                by_namespace
                    .entry(&pending.requester.object.namespace)
                    .or_default()
                    .push(id);
            }
            let oldest = queue.waiting.iter().min_by_key(|(_, pending)| pending.since);
            let Some((first, oldest_delete)) = oldest else {
                return Vec::new();
            };
            let mut chosen = BTreeSet::from([first.clone()]);
            let most = by_namespace.values().map(Vec::len).max().unwrap_or(0);
            for round in 0..most {
                for id in by_namespace.values().filter_map(|ids| ids.get(round)) {
                    let pending = &queue.waiting[*id];
                    let fits = !oldest_delete.alone && !pending.alone && pending.role == oldest_delete.role;
                    if fits && chosen.len() < MOST_IDS {
                        chosen.insert((*id).clone());
                    }
                }
            }
            let take = |id: &EndpointId| queue.waiting.remove_entry(id);
            let batch = chosen.iter().filter_map(take).collect();
            queue.sent = chosen;
            batch
        })
    }

    /// An id of the last batch may be added again; with why AWS refused it, if it did.
    fn answered(&self, id: &EndpointId, refusal: Option<CallError>) {
        self.with(|queue| {
            queue.sent.remove(id);
            if let Some(error) = refusal {
                queue.refused.insert(id.clone(), error);
            }
        });
    }

    /// Whether any wait; if not, the next request starts again.
    fn keeps_running(&self) -> bool {
        self.with(|queue| {
            queue.running = !queue.waiting.is_empty();
            queue.running
        })
    }

    fn requeue(&self, batch: Vec<(EndpointId, PendingDelete)>, alone: bool) {
        self.with(|queue| {
            for (id, mut pending) in batch {
                pending.alone |= alone;
                queue.sent.remove(&id);
                queue.waiting.entry(id).or_insert(pending);
            }
        });
    }
}

async fn run(region: Arc<AccountRegion>) {
    while region.deletes.keeps_running() {
        tokio::time::sleep(GATHER).await;
        while let Decision::Wait(time) = region.acquire(ACTION, &Caller::of_the_operator("batch")) {
            tokio::time::sleep(time).await;
        }
        // It may have been a while since they asked.
        let (batch, revoked): (Vec<_>, Vec<_>) = region
            .deletes
            .take_batch()
            .into_iter()
            .partition(|(_, pending)| (pending.permitted)());
        for (id, pending) in &revoked {
            region.deletes.answered(id, None);
            (region.settings.enqueue)(pending.requester.object.clone());
        }
        let Some((_, first)) = batch.first() else {
            continue;
        };
        let ids: Vec<EndpointId> = batch.iter().map(|(id, _)| id.clone()).collect();
        let span = tracing::info_span!(parent: None, "delete together", endpoints = ids.len());
        for (_, pending) in &batch {
            pending.cause.link(&span);
        }
        let result = first.ec2.delete_endpoints(&ids).instrument(span).await;
        match result {
            Ok(done) => finish(&region, batch, &done.request_id, done.value),
            // Their objects open another session.
            Err(error) if error.is_expired_session() => refuse(&region, batch, &error),
            Err(error) => match error.class {
                Class::Throttled => {
                    log_failure(&region, &batch, &error);
                    region.throttled(ACTION);
                    region.deletes.requeue(batch, false);
                }
                // Deleting again does no harm.
                Class::Transient => {
                    log_failure(&region, &batch, &error);
                    region.deletes.requeue(batch, false);
                    tokio::time::sleep(RETRY).await;
                }
                _ if batch.len() > 1 => {
                    log_failure(&region, &batch, &error);
                    region.deletes.requeue(batch, true);
                }
                _ => refuse(&region, batch, &error),
            },
        }
    }
}

/// One line for every object whose delete is sent again; other failures are logged by their
/// objects.
fn log_failure(region: &AccountRegion, batch: &[(EndpointId, PendingDelete)], error: &CallError) {
    for (id, pending) in batch {
        tracing::warn!(
            namespace = pending.requester.object.namespace, name = pending.requester.object.name, account = pending.requester.account,
            account_id = region.key.account_id.as_str(), region = region.key.region.as_str(),
            action = ACTION, request_id = error.request_id, resource = %id,
            class = error.class.as_str(), code = error.code, error = error.message, "a call to AWS failed"
        );
    }
}

fn refuse(region: &AccountRegion, batch: Vec<(EndpointId, PendingDelete)>, error: &CallError) {
    for (id, pending) in batch {
        region.deletes.answered(&id, Some(error.clone()));
        (region.settings.enqueue)(pending.requester.object);
    }
}

fn finish(
    region: &AccountRegion,
    batch: Vec<(EndpointId, PendingDelete)>,
    request_id: &str,
    mut refused: BTreeMap<EndpointId, CallError>,
) {
    for (id, pending) in batch {
        let Requester { object, account } = pending.requester;
        match refused.remove(&id) {
            Some(error) if error.class != Class::NotFound => region.deletes.answered(&id, Some(error)),
            // Not found: it was deleted already, which the next read confirms.
            _ => {
                tracing::info!(
                    namespace = object.namespace, name = object.name, account,
                    account_id = region.key.account_id.as_str(), region = region.key.region.as_str(),
                    action = ACTION, request_id, resource = %id, "changed AWS"
                );
                region.record(Step::DeleteEndpoint(id.clone()).effect(Outcome::Done));
                region.deletes.answered(&id, None);
            }
        }
        (region.settings.enqueue)(object);
    }
}
