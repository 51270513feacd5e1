//! Clocks that disagree, and time that runs fast.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vpce_testbed::aws::Config;

use crate::client::Client;
use crate::{ACCOUNT, REGION, ROLE, SERVICE, simulator};

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// `X-Amz-Date`, so many seconds from now.
fn date_in(seconds: i64) -> String {
    let moment = jiff::Timestamp::from_second(seconds_now() + seconds).unwrap();
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[test]
fn a_signature_is_good_for_a_quarter_of_an_hour_by_awss_clock() {
    let (simulator, client) = simulator(Config::default());
    for (skew, accepted) in [
        (0.0, true),
        (600.0, true),
        (-600.0, true),
        (1000.0, false),
        (-1000.0, false),
    ] {
        simulator.set_clock_skew(skew);
        let client = client.signing_at(&date_in(0));
        let (ec2, sts) = (client.ec2("DescribeVpcs", &[]), client.sts("GetCallerIdentity", &[]));
        if accepted {
            ec2.succeeded();
            sts.succeeded();
        } else {
            ec2.refused("RequestExpired");
            sts.refused("SignatureDoesNotMatch");
        }
    }
    simulator.set_clock_skew(1000.0);
    let corrected = client.signing_at(&date_in(1000));
    corrected.ec2("DescribeVpcs", &[]).succeeded();
}

#[test]
fn timestamps_follow_the_simulated_clock() {
    let (simulator, _) = simulator(Config::default());
    simulator.set_clock_skew(3600.0);
    let answer = Client::base(&simulator, REGION)
        .sts("AssumeRole", &[("RoleArn", ROLE), ("RoleSessionName", "test")])
        .succeeded();
    let expires: jiff::Timestamp = answer.text("Expiration").parse().unwrap();
    let ahead = expires.as_second() - seconds_now();
    assert!((7190..=7210).contains(&ahead), "{ahead}");
    let date = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("date: "))
        .unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    let ahead = date.as_second() - seconds_now();
    assert!((3590..=3610).contains(&ahead), "{ahead}");
}

#[test]
fn time_may_run_sixty_times_as_fast() {
    let (simulator, client) = simulator(Config {
        time_scale: 60.0,
        ..Config::default()
    });
    let params = [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-1"),
        ("ServiceName", SERVICE),
    ];
    let started = Instant::now();
    client.ec2("CreateVpcEndpoint", &params).succeeded();
    while simulator.endpoints(ACCOUNT, REGION)[0].state != "available" {
        thread::sleep(Duration::from_millis(10));
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900), "a minute is a second: {took:?}");
    let answer = Client::base(&simulator, REGION)
        .sts("AssumeRole", &[("RoleArn", ROLE), ("RoleSessionName", "test")])
        .succeeded();
    let expires: jiff::Timestamp = answer.text("Expiration").parse().unwrap();
    let left = expires.as_second() - seconds_now();
    assert!((50..=61).contains(&left), "an hour is a minute: {left}");
}
