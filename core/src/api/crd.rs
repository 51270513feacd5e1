//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{AWSAccount, VPCEndpoint};

/// Both definitions. `preserveUnknownFields` is set to false by name: a cluster that had the Python operator's
/// definition has it true, and leaving it out would keep it so.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [AWSAccount::crd(), VPCEndpoint::crd()].map(|mut crd| {
        crd.spec.preserve_unknown_fields = Some(false);
        crd
    })
}
