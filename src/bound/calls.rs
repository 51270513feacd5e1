//! What the log says of calls that change AWS, the same for all kinds.

use vpce_core::tags::Owner;

use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;

/// The calls that are made for an object.
pub(crate) struct Calls<'a> {
    pub(crate) owner: &'a Owner,
    /// The AWSAccount's name.
    pub(crate) account: &'a str,
    pub(crate) ec2: &'a Ec2,
}

impl Calls<'_> {
    /// One line for every write to AWS: object, account, action, request id.
    pub(crate) fn changed(&self, action: &str, request_id: &str, resource: &str) {
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = self.account,
            account_id = self.ec2.account_id.as_str(),
            region = self.ec2.region.as_str(),
            action,
            request_id,
            resource,
            "changed AWS"
        );
    }

    /// AWS refused a call.
    pub(crate) fn failed(&self, error: &CallError) {
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = self.account,
            account_id = self.ec2.account_id.as_str(),
            region = self.ec2.region.as_str(),
            action = error.action,
            request_id = error.request_id,
            class = error.class.as_str(),
            code = error.code,
            error = error.message,
            "a call to AWS failed"
        );
    }
}
