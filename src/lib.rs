//! vpce-operator keeps AWS VPC endpoints as VPCEndpoint objects say, each namespace in the AWS account that its
//! AWSAccount names.
//!
//! # The way of the data
//!
//! A change in the API server, a timer or a finished call to AWS puts an object into the queue of
//! [`endpoint::controller`]; [`endpoint::reconcile`] then takes it through these stages, each a file of its own:
//!
//! ```text
//! resolve   which account may this namespace use, and may we write?     vpce_core::resolve     pure
//! desired   spec + account -> what AWS and Kubernetes should hold       vpce_core::desired     pure
//! observe   what the region's snapshot and the Service cache hold       endpoint::observe      IO
//! plan      the difference, as steps that can run now                   vpce_core::plan        pure
//! apply     steps -> AWS, Kubernetes; then look again                   endpoint::apply        IO
//! status    conditions, events, metrics, when to look again             endpoint::status       IO
//! ```
//!
//! Deletion is the same path, with nothing as what is desired.
//!
//! # The map
//!
//! - [`cli`]: flags and environment; [`operator`]: what is started, and in which order it stops; [`lease`]: which replica works; [`crds`]: prints the CRDs;
//!   [`iam_policy`]: prints the IAM policies; [`orphans`]: shows and deletes what belongs to no object; [`preview`]: shows what would be done for an object.
//! - [`pages`]: lists of the API server, read page by page.
//! - [`context`]: what both controllers share. [`account`]: the AWSAccount controller. [`endpoint`]: the VPCEndpoint
//!   controller. [`service`]: the ExternalName Service. [`events`], [`finalizer`], [`status`]; [`writes`]: those that the API
//!   server refuses or changes.
//! - [`aws`]: `sessions` of roles from STS; `region`, one for an account in a region, with the `snapshot` that all
//!   reconciles look at, the lines for what AWS allows, and the `deletes` that leave together; `ec2`, the calls; `error`,
//!   what a failed one means.
//! - [`telemetry`]: metrics, logs, traces, the HTTP servers.
//! - `vpce_core`: the custom resources, the pure stages (`ownership` tells what is an object's own from what only carries its tags) and the
//!   IAM policies.

pub mod account;
pub mod aws;
pub mod cli;
pub mod context;
pub mod crds;
pub mod endpoint;
pub mod events;
pub mod finalizer;
pub mod iam_policy;
pub mod lease;
pub mod operator;
pub mod orphans;
pub mod pages;
pub mod preview;
pub mod service;
pub mod status;
pub mod telemetry;
pub mod writes;
