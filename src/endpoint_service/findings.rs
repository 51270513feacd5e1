//! How the parts of a VPCEndpointService stand.

use vpce_core::conditions::Finding;

use crate::bound::findings::{Observed, Parts, Standing};

/// How the parts of a VPCEndpointService stand. A part that was not observed keeps what it said
/// before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// The account.
    pub(crate) account: Option<Finding>,
    /// The load balancers.
    pub(crate) load_balancers: Option<Finding>,
    /// The endpoint service.
    pub(crate) service: Option<Finding>,
    /// Its private DNS name. Where none is asked for, there is no condition.
    pub(crate) private_dns: Option<Finding>,
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
            service: Some(resource),
            ..Self::default()
        }
    }

    fn summary(&self, standing: Standing) -> Finding {
        let observed = Observed {
            account: self.account.as_ref(),
            resource: self.service.as_ref(),
            noun: "endpoint service",
        };
        let others = [&self.load_balancers, &self.private_dns].map(Option::as_ref);
        observed.summary(&others, standing)
    }
}
