//! The kinds of objects that subcommands show, by the names that kubectl knows them by.

use clap::ValueEnum;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// VPCEndpoints.
    #[value(name = "vpcendpoint", aliases = ["vpce", "vpcendpoints", "VPCEndpoint"])]
    VPCEndpoint,
    /// VPCEndpointServices.
    #[value(name = "vpcendpointservice", aliases = ["vpcesvc", "vpcendpointservices", "VPCEndpointService"])]
    VPCEndpointService,
}

impl Kind {
    /// As in manifests.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::VPCEndpoint => "VPCEndpoint",
            Self::VPCEndpointService => "VPCEndpointService",
        }
    }
}
