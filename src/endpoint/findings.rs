//! How the parts of a VPCEndpoint stand.

use vpce_core::conditions::Finding;

use crate::bound::findings::{Observed, Parts, Standing};

/// How the parts of a VPCEndpoint stand. A part that was not observed keeps what it said before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// The account.
    pub account: Option<Finding>,
    /// The endpoint.
    pub endpoint: Option<Finding>,
    /// The Service.
    pub service: Option<Finding>,
    /// The DNS names. Where none are asked for, there is no condition.
    pub names: Option<Finding>,
    /// The ConfigMap, likewise.
    pub config_map: Option<Finding>,
}

impl Parts for Findings {
    fn of_account(finding: Finding) -> Self {
        Self {
            account: Some(finding),
            ..Self::default()
        }
    }

    fn of_resource(account: Option<Finding>, resource: Finding) -> Self {
        Self {
            account,
            endpoint: Some(resource),
            ..Self::default()
        }
    }

    fn summary(&self, standing: Standing) -> Finding {
        let observed = Observed {
            account: self.account.as_ref(),
            resource: self.endpoint.as_ref(),
            noun: "endpoint",
        };
        let others = [&self.service, &self.names, &self.config_map].map(Option::as_ref);
        observed.summary(&others, standing)
    }
}
