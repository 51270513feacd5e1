//! vpce-operator keeps AWS VPC endpoints as VPCEndpoint objects say, each namespace in the AWS
//! account that its AWSAccount names.
//!
//! # The data path
//!
//! A change in the API server, a timer or a finished call to AWS puts an object into the queue of
//! [`endpoint::controller`]; [`endpoint::reconcile`] then takes it through these stages:
//!
//! ```text
//! discover   what the account's networks consist of, if need be        endpoint::placement   IO
//! resolve    which account may this namespace use, and may we write?    vpce_core::resolve    pure
//! desired    spec + account -> what AWS and Kubernetes should hold      vpce_core::desired    pure
//! authorize  do guardrails and settings allow it?                       vpce_core::authorize  pure
//! observe    what the region's snapshot and the Service cache hold      endpoint::observe     IO
//! plan       the difference, as steps that can run now                  vpce_core::plan       pure
//! apply      steps -> AWS, Kubernetes; then observe again               endpoint::apply       IO
//! status     conditions, events, metrics, when to requeue               endpoint::report      IO
//! ```
//!
//! `endpoint::prepare` is resolve, desired and authorize, which the subcommand `plan` shares;
//! `endpoint::access` then opens the account, and `endpoint::converge` observes, plans and applies
//! until nothing is left to do. What ends a reconcile early is one enum, `endpoint::stop`, that `?`
//! carries.
//!
//! Deletion is the same path, with nothing as what is desired. An object that shares the endpoint
//! of another ([`endpoint::reference`]) takes it without AWS: what it observes is the other's
//! status.
//!
//! # The map
//!
//! Each folder imports from those before it only: `backoff`, `telemetry`, `settings`, `k8s`, `aws`,
//! `shared`, `account`, `bound`, `endpoint`, `endpoint_service`, `operator`, `cli`; a test
//! (`layers`) keeps it so.
//!
//! - [`cli`]: the command line, a file for each subcommand: `run` starts the [`operator`]; `crds`,
//!   `iam-policy` and `accounts` print; `status` shows an object, `plan` what would be done for it;
//!   `orphans` shows and deletes what belongs to no object.
//! - [`operator`]: what is started, and in which order it stops. [`settings`]: flags and
//!   environment.
//! - [`endpoint`]: the VPCEndpoint controller, with what is published of an endpoint: its Service
//!   ([`endpoint::service`]), the EndpointSlices of a headless one ([`endpoint::slices`]), its DNS
//!   names ([`endpoint::dns_endpoint`]) and a ConfigMap ([`endpoint::config_map`]).
//!   [`endpoint_service`]: the VPCEndpointService controller, by the same data path. [`bound`]:
//!   what both have in common, since their objects are bound to AWSAccounts: how one is resolved,
//!   how its account is opened, what is remembered of it, and how it is written.
//!   [`account`]: the AWSAccount controller. [`shared`]: what all controllers share; each has a
//!   context of its own for the rest.
//! - [`aws`]: `sessions` of roles from STS; `region`, one for an account in a region, with the
//!   `cache` that all reconciles read (`refresh` fills it), the `addresses` of network interfaces,
//!   the VPCs and subnets of `networks`, the `endpoint_services` that it hosts, the
//!   `load_balancers` that Services have there, the rate limiters (`limiter`) for what AWS allows,
//!   deletes that are sent together (`delete_batch`) and `mass_deletion` protection; `ec2` and
//!   `elb`, the calls; `error`, what a failed one means.
//! - [`k8s`]: what all controllers use of Kubernetes: caches of what is watched, the work queue,
//!   lists in pages, writes that the API server refuses or changes, finalizers, events, and which
//!   replica works (`lease`).
//! - [`telemetry`]: metrics, logs, traces, the HTTP servers. [`backoff`]: how long to wait before
//!   another try.
//! - `vpce_core`: the custom resources, the pure stages (`ownership` tells what is an object's own
//!   from what only carries its tags) and the IAM policies.

// The map links to what only the crate sees.
#![allow(rustdoc::private_intra_doc_links)]
#![warn(unreachable_pub)]

mod account;
mod aws;
mod backoff;
mod bound;
pub mod cli;
mod endpoint;
mod endpoint_service;
mod k8s;
#[cfg(test)]
mod layers;
mod operator;
mod settings;
mod shared;
mod telemetry;
