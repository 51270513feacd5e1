//! Carries out the steps in Kubernetes: what is published of an endpoint.

use vpce_core::config_map::ConfigMapContent;
use vpce_core::names::DnsEndpointContent;
use vpce_core::observed::ServiceContent;
use vpce_core::plan::{self, Step};
use vpce_core::slices::SliceContent;

use super::apply::{ASK_AGAIN, Applier, StepEnd, StepError};
use super::config_map;
use super::dns_endpoint;
use super::observe;
use super::service::{self, Publication};
use super::slices;
use crate::k8s::owned::Published;
use crate::k8s::patch::version_of;

impl Applier<'_> {
    /// Carries out a step in Kubernetes.
    pub(super) async fn publish(&self, step: &Step) -> Result<StepEnd, StepError> {
        match step {
            Step::PublishService {
                name,
                target,
                ports,
                metadata,
                exists,
            } => {
                let wanted = Publication {
                    name,
                    target,
                    ports,
                    metadata,
                };
                self.publish_service(&wanted, *exists).await
            }
            Step::DeleteService(name) => self.delete_service(name).await,
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            Step::PublishSlice { content, exists } => Box::pin(self.publish_slice(content, *exists)).await,
            Step::DeleteSlice(name) => Box::pin(self.delete_slice(name)).await,
            Step::PublishDnsEndpoint { name, content, exists } => {
                Box::pin(self.publish_dns_endpoint(name, content, *exists)).await
            }
            Step::DeleteDnsEndpoint(name) => Box::pin(self.delete_dns_endpoint(name)).await,
            Step::PublishConfigMap { name, content, exists } => {
                Box::pin(self.publish_config_map(name, content, *exists)).await
            }
            Step::DeleteConfigMap(name) => {
                let deleted = config_map::delete(self.ctx, self.object, name).await;
                deleted.map_err(StepError::Kubernetes)?;
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.own.writes.config_maps = None);
                Ok(StepEnd::Done)
            }
            // In AWS.
            _ => Ok(StepEnd::LeftAlone),
        }
    }

    async fn publish_service(&self, wanted: &Publication<'_>, exists: bool) -> Result<StepEnd, StepError> {
        let name = wanted.name;
        let content = wanted.content();
        if exists && !self.may_correct(name, &content) {
            return Ok(StepEnd::LeftAlone);
        }
        // The cache has no Service that lost our label: that it was stored is remembered, so that
        // no create is refused each time.
        let exists = exists
            || self
                .ctx
                .memories
                .with(self.object, |memory| memory.own.writes.corrections.is_left(name));
        let published = service::publish(&self.ctx.shared.client, self.object, wanted, exists).await;
        match published {
            Ok(Published::Done(service)) => {
                let observed = service::observed(&service, &self.owner.uid);
                let version = version_of(&*service);
                let most = self.ctx.shared.settings.resync_interval;
                self.ctx.memories.with(self.object, |memory| {
                    memory.own.writes.corrections.stored(&content, observed.clone(), most);
                    memory
                        .own
                        .writes
                        .services
                        .insert(name.to_owned(), (version, Some(observed)));
                });
                Ok(StepEnd::Done)
            }
            Ok(Published::Vanished) => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            // The caches do not have Services of others, so the plan cannot know of it.
            Ok(Published::NotOwned) => Err(StepError::Finding(plan::service_conflict(self.owner, name))),
            Err(error) => Err(StepError::Kubernetes(error)),
        }
    }

    async fn publish_slice(&self, content: &SliceContent, exists: bool) -> Result<StepEnd, StepError> {
        let name = content.name();
        let found = observe::slices(self.ctx, self.object, None);
        let found = found.into_iter().find(|slice| slice.name == name);
        let (may_correct, is_left) = self.ctx.memories.with(self.object, |memory| {
            let slices = &mut memory.own.writes.slices;
            (
                !exists || slices.may_correct(&name, content, found),
                slices.is_left(&name),
            )
        });
        if !may_correct {
            return Ok(StepEnd::LeftAlone);
        }
        let published = slices::publish(&self.ctx.shared.client, self.object, content, exists || is_left).await;
        match published.map_err(StepError::Kubernetes)? {
            Published::Done(slice) => {
                let most = self.ctx.shared.settings.resync_interval;
                let found = slices::observed(&slice, &self.owner.uid);
                self.ctx.memories.with(self.object, |memory| {
                    let slices = &mut memory.own.writes.slices;
                    slices.published(content, found, version_of(&*slice), most);
                });
                Ok(StepEnd::Done)
            }
            Published::Vanished => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            // The caches do not have those of others, so the plan cannot know of it.
            Published::NotOwned => Err(StepError::Finding(plan::slice_conflict(self.owner, &name))),
        }
    }

    async fn delete_slice(&self, name: &str) -> Result<StepEnd, StepError> {
        let shared = &self.ctx.shared;
        let deleted = slices::delete(&shared.client, &shared.caches, self.object, name).await;
        let version = deleted.map_err(StepError::Kubernetes)?;
        self.ctx
            .memories
            .with(self.object, |memory| memory.own.writes.slices.deleted(name, version));
        Ok(StepEnd::Done)
    }

    /// Whether a Service that exists may be corrected: not where another controller changes it back
    /// each time.
    fn may_correct(&self, name: &str, content: &ServiceContent) -> bool {
        let mut services = observe::services(self.ctx, self.object, &self.object.status, None);
        services.retain(|service| service.name == name);
        self.ctx.memories.with(self.object, |memory| {
            memory.own.writes.corrections.may_correct(content, services.pop())
        })
    }

    async fn delete_service(&self, name: &str) -> Result<StepEnd, StepError> {
        let shared = &self.ctx.shared;
        let deleted = service::delete(&shared.client, &shared.caches, self.object, name).await;
        let version = deleted.map_err(StepError::Kubernetes)?;
        self.ctx.memories.with(self.object, |memory| {
            memory.own.writes.services.insert(name.to_owned(), (version, None));
        });
        Ok(StepEnd::Done)
    }

    async fn publish_dns_endpoint(
        &self,
        name: &str,
        content: &DnsEndpointContent,
        exists: bool,
    ) -> Result<StepEnd, StepError> {
        let found = dns_endpoint::observe(self.ctx, self.object, &[]).endpoints;
        let found = found.into_iter().find(|found| found.name == name);
        let (may_correct, is_left) = self.ctx.memories.with(self.object, |memory| {
            let written = memory.own.writes.dns_endpoints.get_or_insert_default();
            (
                !exists || written.may_correct(name, content, found),
                written.is_left(name),
            )
        });
        if !may_correct {
            return Ok(StepEnd::LeftAlone);
        }
        let client = &self.ctx.shared.client;
        let published = dns_endpoint::publish(client, self.object, name, content, exists || is_left).await;
        match published.map_err(StepError::Kubernetes)? {
            Published::Done(stored) => {
                let most = self.ctx.shared.settings.resync_interval;
                let found = dns_endpoint::observed(&stored, &self.owner.uid);
                self.ctx.memories.with(self.object, |memory| {
                    let written = memory.own.writes.dns_endpoints.get_or_insert_default();
                    written.published(content, found, version_of(&*stored), most);
                });
                Ok(StepEnd::Done)
            }
            Published::Vanished => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            // The cache does not have those of others, so the plan cannot know of it.
            Published::NotOwned => Err(StepError::Finding(plan::dns_endpoint_conflict(self.owner))),
        }
    }

    async fn delete_dns_endpoint(&self, name: &str) -> Result<StepEnd, StepError> {
        let shared = &self.ctx.shared;
        let deleted = dns_endpoint::delete(&shared.client, &shared.caches, self.object, name).await;
        let version = deleted.map_err(StepError::Kubernetes)?;
        self.ctx.memories.with(self.object, |memory| {
            let written = memory.own.writes.dns_endpoints.get_or_insert_default();
            written.deleted(name, version);
        });
        Ok(StepEnd::Done)
    }

    async fn publish_config_map(
        &self,
        name: &str,
        content: &ConfigMapContent,
        exists: bool,
    ) -> Result<StepEnd, StepError> {
        let written = config_map::publish(self.ctx, self.object, name, content, exists).await;
        match written.map_err(StepError::Kubernetes)? {
            Published::Done(stored) => {
                let most = self.ctx.shared.settings.resync_interval;
                let found = config_map::observed(&stored, &self.owner.uid);
                self.ctx.memories.with(self.object, |memory| {
                    let written = memory.own.writes.config_maps.get_or_insert_default();
                    written.published(content, found, version_of(&*stored), most);
                });
                Ok(StepEnd::Done)
            }
            Published::Vanished => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            Published::NotOwned => Err(StepError::Finding(plan::config_map_conflict(self.owner))),
        }
    }
}
