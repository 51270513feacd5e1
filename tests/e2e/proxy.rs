//! Behind a proxy, and with FIPS endpoints: who is called, seen from a proxy.

use serde_json::json;
use vpce_testbed::forward_proxy::ForwardProxy;

use crate::world::{Setup, World};

fn behind(proxy: &ForwardProxy, more: &[(&str, &str)]) -> World {
    let mut setup = Setup::fast();
    let url = proxy.url();
    let own = [("HTTPS_PROXY", url.as_str()), ("HTTP_PROXY", url.as_str())];
    let all = own.iter().chain(more);
    setup
        .env
        .extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    World::own(setup)
}

#[test]
fn all_calls_go_through_the_proxy_that_the_environment_names() {
    let proxy = ForwardProxy::start().expect("a proxy");
    let world = behind(&proxy, &[]);
    let tenant = world.tenant("proxied");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let calls = world.aws.calls().len();
    let asked = proxy.asked();
    let to_aws = asked
        .iter()
        .filter(|line| **line == format!("POST {}/", world.aws.url()))
        .count();
    assert!(to_aws >= calls, "{to_aws} of {calls} calls: {asked:?}");
    let api_server = world.cluster.plane.url().trim_start_matches("https://").to_owned();
    assert!(asked.contains(&format!("CONNECT {api_server}")), "{asked:?}");
}

#[test]
fn a_host_of_no_proxy_is_called_directly() {
    let proxy = ForwardProxy::start().expect("a proxy");
    let world = behind(&proxy, &[("NO_PROXY", "127.0.0.0/8,.svc")]);
    let tenant = world.tenant("direct");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn https_goes_by_connect_to_the_regional_hosts_or_to_those_of_fips() {
    for (fips, host) in [
        ("false", "sts.us-east-1.amazonaws.com"),
        ("true", "sts-fips.us-east-1.amazonaws.com"),
    ] {
        // The proxy leads to this machine only: AWS itself is never called.
        let proxy = ForwardProxy::start().expect("a proxy");
        let world = behind(
            &proxy,
            &[
                ("NO_PROXY", "127.0.0.1"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
                ("AWS_USE_FIPS_ENDPOINT", fips),
            ],
        );
        let tenant = world.tenant("far");
        let asked = world.eventually("STS is called", || {
            let asked = proxy.asked();
            (!asked.is_empty()).then_some(asked)
        });
        assert!(
            asked.iter().all(|line| *line == format!("CONNECT {host}:443")),
            "{asked:?}"
        );
        tenant.apply("api", tenant.spec(json!({})));
        tenant.not_ready("api", "AccountNotReady");
    }
}
