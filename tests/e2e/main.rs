//! End to end: the operator's real binary on a real API server, with an AWS that is simulated at the wire.

mod cluster;
mod conditions;
mod crashes;
mod crowd;
mod dashboards;
mod drift;
mod edits;
mod escapes;
mod figures;
mod guides;
mod leaders;
mod legacy;
mod lifecycle;
mod moto;
mod orphans;
mod partitions;
mod permissions;
mod policies;
mod privileges;
mod rails;
mod schema;
mod secrets;
mod service_metadata;
mod tenancy;
mod unparseable;
mod world;
