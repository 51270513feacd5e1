//! The EC2 of the simulator, for tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_types::retry::RetryConfig;
use vpce_testbed::aws::Simulator;

use super::Ec2;

/// The region of the tests.
pub(in crate::aws) const REGION: &str = "eu-west-1";

/// Runs a test. The simulator, which has a runtime of its own, is let go of outside of the test's.
pub(in crate::aws) fn run(simulator: Simulator, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test);
    drop(simulator);
}

/// EC2 as an administrator of an account sees it.
pub(in crate::aws) fn ec2(simulator: &Simulator, account: &str) -> Ec2 {
    let (key_id, secret) = simulator.add_administrator(account);
    let credentials = Credentials::new(key_id, secret, None, None, "test");
    ec2_with(simulator, account, credentials)
}

/// EC2 as these credentials see it.
pub(in crate::aws) fn ec2_with(simulator: &Simulator, account: &str, credentials: Credentials) -> Ec2 {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(aws_sdk_ec2::config::BehaviorVersion::latest())
        .region(aws_sdk_ec2::config::Region::new(REGION))
        .endpoint_url(simulator.url())
        .credentials_provider(credentials)
        .http_client(crate::aws::http::client())
        .retry_config(RetryConfig::disabled())
        .build();
    Ec2 {
        client: aws_sdk_ec2::Client::from_conf(config),
        account_id: account.parse().unwrap(),
        region: REGION.into(),
        observer: Arc::new(|_| {}),
    }
}

/// The credentials of a session of a role.
pub(in crate::aws) async fn assume(simulator: &Simulator, role: &str) -> Credentials {
    let (key_id, secret) = simulator.base_credentials();
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new(REGION))
        .endpoint_url(simulator.url())
        .credentials_provider(Credentials::new(key_id, secret, None, None, "test"))
        .http_client(crate::aws::http::client())
        .retry_config(RetryConfig::disabled())
        .build();
    let request = aws_sdk_sts::Client::from_conf(config).assume_role();
    let answer = request.role_arn(role).role_session_name("test").send().await.unwrap();
    let given = answer.credentials.unwrap();
    let token = Some(given.session_token);
    Credentials::new(given.access_key_id, given.secret_access_key, token, None, "test")
}
