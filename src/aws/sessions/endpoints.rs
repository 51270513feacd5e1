//! Which hosts a pool calls where no endpoint is configured: those of the region, in its partition.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use aws_types::{SdkConfig, region::Region};
use parking_lot::Mutex;

use super::{
    super::{elb::Elb, observer::Observer},
    Session, SessionKey,
    sts::{Opened, Sts},
};

/// A network that nothing comes through: it keeps what was to be sent.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<Mutex<Vec<String>>>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.0.lock().push(request.uri().to_owned());
        HttpConnectorFuture::ready(Err(ConnectorError::user("nothing comes through".into())))
    }
}

fn credentials() -> Credentials {
    Credentials::new("AKIABASE", "base-secret", None, None, "test")
}

/// What is called first and what a session calls in a region, by an operator at home in another
/// region. `fips` is what `AWS_USE_FIPS_ENDPOINT` says, which the SDK reads into the same field.
async fn called(home: &str, region: &str, fips: bool) -> Vec<String> {
    let wire = Wire::default();
    let connector = SharedHttpConnector::new(wire.clone());
    let base = SdkConfig::builder()
        .region(Region::new(home.to_owned()))
        .use_fips(fips)
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    let sts = Sts::new(&base, Arc::new(|_| {}));
    let role = SessionKey {
        role_arn: "arn:aws:iam::111111111111:role/vpce".parse().expect("a role"),
        external_id: None,
        duration_seconds: 3600,
        session_name: "vpce-operator".to_owned(),
        tags: [].into(),
        source_identity: None,
    };
    assert!(sts.open(&role).await.is_err());
    let opened = Opened {
        credentials: credentials(),
        expires: SystemTime::now() + Duration::from_secs(3600),
        clamped: false,
    };
    let session = Session::new(role, opened, &Arc::new(sts));
    let describe = session.ec2(region).describe_vpc_endpoints().send();
    assert!(describe.await.is_err());
    let observer: Observer = Arc::new(|_| {});
    let elb = Elb::of(&session, &region.into(), &observer);
    assert!(elb.describe_load_balancers(&[], None).await.is_err());
    wire.0.lock().clone()
}

#[tokio::test]
async fn every_partition_has_its_own_hosts_and_sts_is_the_regions_own() {
    for (home, sts, region, suffix) in [
        (
            "us-east-1",
            "sts.us-east-1.amazonaws.com",
            "eu-west-1",
            ".eu-west-1.amazonaws.com",
        ),
        (
            "eu-west-1",
            "sts.eu-west-1.amazonaws.com",
            "us-east-1",
            ".us-east-1.amazonaws.com",
        ),
        (
            "cn-north-1",
            "sts.cn-north-1.amazonaws.com.cn",
            "cn-northwest-1",
            ".cn-northwest-1.amazonaws.com.cn",
        ),
        (
            "us-gov-west-1",
            "sts.us-gov-west-1.amazonaws.com",
            "us-gov-east-1",
            ".us-gov-east-1.amazonaws.com",
        ),
    ] {
        assert_eq!(
            called(home, region, false).await,
            [
                format!("https://{sts}/"),
                format!("https://ec2{suffix}/"),
                format!("https://elasticloadbalancing{suffix}/")
            ]
        );
    }
}

#[tokio::test]
async fn fips_endpoints_are_called_where_that_is_asked_for() {
    for (home, sts, region, suffix) in [
        (
            "us-east-1",
            "sts-fips.us-east-1.amazonaws.com",
            "us-west-2",
            "-fips.us-west-2.amazonaws.com",
        ),
        // All of these are FIPS endpoints.
        (
            "us-gov-west-1",
            "sts.us-gov-west-1.amazonaws.com",
            "us-gov-east-1",
            ".us-gov-east-1.amazonaws.com",
        ),
        // AWS has none in Europe; the name does not exist, and nothing else is called instead.
        (
            "us-east-2",
            "sts-fips.us-east-2.amazonaws.com",
            "eu-west-1",
            "-fips.eu-west-1.amazonaws.com",
        ),
    ] {
        assert_eq!(
            called(home, region, true).await,
            [
                format!("https://{sts}/"),
                format!("https://ec2{suffix}/"),
                format!("https://elasticloadbalancing{suffix}/")
            ]
        );
    }
}
