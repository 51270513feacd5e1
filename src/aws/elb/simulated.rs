//! The Elastic Load Balancing of the simulator, for tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_types::retry::RetryConfig;
use vpce_testbed::aws::Simulator;

use super::Elb;
use crate::aws::ec2::simulated::REGION;

/// Elastic Load Balancing as an administrator of an account sees it.
pub(in crate::aws) fn elb(simulator: &Simulator, account: &str) -> Elb {
    let (key_id, secret) = simulator.add_administrator(account);
    let credentials = Credentials::new(key_id, secret, None, None, "test");
    elb_with(simulator, account, credentials)
}

/// Elastic Load Balancing as these credentials see it.
pub(in crate::aws) fn elb_with(simulator: &Simulator, account: &str, credentials: Credentials) -> Elb {
    use aws_sdk_elasticloadbalancingv2::{Client, Config, config};
    let config = Config::builder()
        .behavior_version(config::BehaviorVersion::latest())
        .region(config::Region::new(REGION))
        .endpoint_url(simulator.url())
        .credentials_provider(credentials)
        .http_client(crate::aws::http::client())
        .retry_config(RetryConfig::disabled())
        .build();
    Elb {
        client: Client::from_conf(config),
        account_id: account.parse().unwrap(),
        region: REGION.into(),
        observer: Arc::new(|_| {}),
    }
}
