//! What is planned for a VPCEndpointService: cases, and laws held against a model of EC2.

mod cases;
mod laws;
mod remembered;
mod scenario;
mod spec;
mod world;
