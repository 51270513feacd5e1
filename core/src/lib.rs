//! The pure part of vpce-operator: it knows no client, no clock and no async.
//!
//! The stages of a reconcile, in the order in which data passes them: [`resolve`] finds the account
//! of an object, [`desired`] completes its spec, [`authorize`] says whether that is allowed,
//! [`observed`] has what was found, [`plan`] takes the difference. [`conditions`] says what every
//! outcome means; [`target`] and [`attachment`] are what an endpoint connects to, and how;
//! [`network`] chooses its VPC and subnets where the spec does not name them; [`options`] is what
//! is set on it beside, [`addresses`] which addresses its network interfaces have, [`change`] what
//! can be changed of it, [`policy`] reads and compares its policy; [`error`] sorts the errors of
//! AWS; [`rate`] keeps within the limits of AWS; [`orphans`] finds what belongs to no object;
//! [`tags`] says which object owns what is in AWS; [`metadata`] says what a user may put on a
//! Service, [`slices`] are the addresses of a headless one; [`names`] are the DNS names that
//! clients use; [`endpoint_service`] has the same stages for a VPCEndpointService; [`sharing`] says
//! who may publish the endpoint of another object; [`iam`] says what the operator has to be allowed
//! there.

pub mod addresses;
pub(crate) mod allow_list;
pub mod api;
pub mod attachment;
pub mod authorize;
pub mod change;
pub mod conditions;
pub mod config_map;
pub mod desired;
pub mod endpoint_service;
pub mod error;
pub mod guardrails;
pub mod iam;
pub mod ids;
pub mod metadata;
pub mod names;
pub mod network;
pub mod object_key;
pub mod observed;
pub mod options;
pub mod orphans;
pub mod ownership;
pub mod plan;
pub mod policy;
pub mod rate;
pub mod resolve;
pub mod rules;
pub mod sharing;
pub mod slices;
pub mod tags;
pub mod target;
pub mod tenancy;
pub(crate) mod user_tags;
