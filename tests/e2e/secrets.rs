//! No credential shows anywhere: all that a run leaves behind is searched for every secret that was
//! handed out in it.

use std::fs;

use serde_json::{Value, json};
use vpce_testbed::aws::{Fault, FaultKind};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// Everything the operator can be made to say, but for what its libraries say of every byte.
const TRACE: &str = "trace";
/// That as well: a user who looks for a network problem sets this level, and sends the log to
/// others.
const LIBRARIES: &str = "trace\\,hyper=trace\\,hyper_util=trace\\,h2=trace\\,tower=trace\\,rustls=trace\\,aws_config=trace\\,\
                         aws_runtime=trace\\,aws_sdk_ec2=trace\\,aws_sdk_sts=trace\\,aws_smithy_runtime=trace\\,\
                         aws_smithy_runtime_api=trace\\,aws_smithy_http_client=trace\\,kube_client=trace";
/// A piece of this length is a leak, too: text is cut at the start or the end.
const PIECE: usize = 24;

/// What a run left behind: the name of a place, and all that it holds.
type Places = Vec<(&'static str, String)>;

/// Where which secret shows, in any of the ways in which text is written.
fn leaks(places: &Places, secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for secret in secrets {
        let encoded = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let escaped = secret.replace('/', "\\/");
        let pieces = [&secret[..PIECE], &secret[secret.len() - PIECE..]];
        let forms = [secret.as_str(), &encoded, &escaped].into_iter().chain(pieces);
        for form in forms {
            let holding = places.iter().filter(|(_, content)| content.contains(form));
            found.extend(holding.map(|(place, content)| {
                let line = content.lines().find(|line| line.contains(form)).unwrap_or_default();
                let at = line.find(form).unwrap_or_default();
                let before = &line[line.floor_char_boundary(at.saturating_sub(200))..at];
                format!("{place}: {} characters after {before:?}", form.len())
            }));
        }
    }
    found
}

/// The token of the operator's ServiceAccount: what is signed in it, and the signature.
fn kubernetes_token(world: &World) -> Vec<String> {
    let files = fs::read_dir(world.cluster.plane.folder()).expect("the control plane's folder");
    let kubeconfigs = files.filter_map(|file| {
        let path = file.expect("a file").path();
        let name = path.file_name()?.to_string_lossy().into_owned();
        (name.starts_with("vpce-system-") && name.ends_with(".kubeconfig")).then_some(path)
    });
    let tokens = kubeconfigs.map(|path| {
        let kubeconfig: Value = serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON");
        text(&kubeconfig["users"][0]["user"]["token"])
    });
    let parts = tokens.flat_map(|token| token.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>());
    parts.collect()
}

/// Every object that the operator may have written, or that is about it.
fn objects(world: &World) -> String {
    let all = [
        "/apis/silvermullet.com/v1beta1/vpcendpoints",
        cluster::ACCOUNTS,
        "/apis/events.k8s.io/v1/events",
        "/api/v1/events",
        "/api/v1/services",
        "/api/v1/configmaps",
        "/apis/coordination.k8s.io/v1/leases",
    ];
    let all = all.map(|path| world.cluster.list(path));
    serde_json::to_string(&all).expect("JSON")
}

/// Lets happen what can happen to sessions, and what AWS can say of them; returns all that was left
/// behind.
fn run(level: &str) -> (World, Places) {
    let world = World::own(
        Setup::fast()
            .value("settings.logLevel", level)
            .value("settings.refusedRetrySeconds", "1"),
    );
    let mut metrics = String::new();
    let mut seen = String::new();
    let mut look = |world: &World| {
        metrics.push_str(&world.operator.metrics().expect("it runs"));
        seen.push_str(&objects(world));
    };
    let tenant = world.tenant("quiet");
    tenant.apply("api", tenant.spec(json!({"tags": {"team": "a"}})));
    tenant.ready("api");

    // AWS refuses calls, and its words are passed on.
    world.aws.deny(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.delete("api");
    tenant.not_ready("api", "Denied");
    look(&world);
    world.aws.allow(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    touch(&tenant, "api");
    tenant.gone("api");

    // Sessions end early; the next call fails, and another session is opened.
    world.aws.expire_sessions();
    tenant.apply("later", tenant.spec(json!({})));
    tenant.ready("later");

    // Answers are lost, and STS fails on the way.
    world.aws.fault(Fault::once("CreateVpcEndpoint", FaultKind::LoseAnswer));
    world
        .aws
        .fault(Fault::once("DescribeVpcEndpoints", FaultKind::LoseAnswer));
    tenant.apply("lost", tenant.spec(json!({})));
    tenant.ready("lost");
    let refused = world.unregistered_tenant("refused");
    world.set_trust(&refused.role_arn, false);
    refused.register(json!({"external_id": "an-id-that-is-wrong"}));
    refused.apply("api", refused.spec(json!({})));
    refused.not_ready("api", "AccountNotReady");
    look(&world);

    // STS shows what it would have signed, a session's token among it.
    let echo = world.unregistered_tenant("echo");
    let says = |token: &str| {
        let message = format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
             signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have \
             been\n'POST\n/\n\nhost:sts.us-west-2.amazonaws.com\nx-amz-security-token:{token}\n\nhost;x-amz-security-token\n'"
        );
        FaultKind::refuse(403, "SignatureDoesNotMatch", &message)
    };
    let newest = world.aws.secrets().last().expect("a session's token").clone();
    for action in ["AssumeRole", "GetCallerIdentity"] {
        world.aws.fault(Fault {
            times: 2,
            ..Fault::once(action, says(&newest))
        });
    }
    echo.register(json!({}));
    world.eventually("the AWSAccount passes on what STS said", || {
        let account = world.aws_account(&echo.account)?;
        condition(&account, "Ready").filter(|ready| ready.message.contains("SignatureDoesNotMatch"))
    });
    look(&world);
    echo.apply("api", echo.spec(json!({})));
    echo.ready("api");

    // It ends, and starts again.
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts again");
    touch(&tenant, "later");
    tenant.ready("later");
    look(&world);
    let places = vec![("logs", world.operator.logs()), ("metrics", metrics), ("objects", seen)];
    (world, places)
}

/// Asks for a look now.
fn touch(tenant: &Tenant<'_>, name: &str) {
    let now = json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}});
    tenant.merge(name, now);
}

/// `spoken` is in the log if the level was what it should be.
fn shows_no_secret(level: &str, spoken: &str) {
    let (world, places) = run(level);
    // What is searched is there.
    for (place, word) in [
        ("logs", spoken),
        ("logs", "changed AWS"),
        ("logs", "could not open a session"),
        ("metrics", "vpce_aws_requests_total"),
        ("objects", "AssumeRoleDenied"),
        ("objects", "SignatureDoesNotMatch"),
        ("objects", "\"kind\":\"VPCEndpoint\""),
    ] {
        let content = places
            .iter()
            .find(|(name, _)| *name == place)
            .map(|(_, content)| content);
        assert!(
            content.is_some_and(|content| content.contains(word)),
            "no {word} in the {place}"
        );
    }
    let mut secrets = world.aws.secrets();
    assert!(
        secrets.len() >= 9,
        "its own, and the key and the token of four sessions"
    );
    let token = kubernetes_token(&world);
    assert_eq!(token.len(), 2, "what a token says, and its signature");
    secrets.extend(token);
    let found = leaks(&places, &secrets);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_secret_shows_at_the_level_of_most_words() {
    shows_no_secret(TRACE, "TRACE");
}

#[test]
fn no_secret_shows_when_the_libraries_speak_too() {
    shows_no_secret(LIBRARIES, "hyper_util::client");
}

#[test]
fn a_secret_that_shows_is_found_in_every_place_and_form() {
    let secret = "abcdefghijklmnopqrstuvwxyz+abcdefghij/klmnop=".to_owned();
    let forms = [
        secret.clone(),
        "abcdefghijklmnopqrstuvwxyz%2Babcdefghij%2Fklmnop%3D".to_owned(),
        "abcdefghijklmnopqrstuvwxyz+abcdefghij\\/klmnop=".to_owned(),
        secret[..30].to_owned(),
        secret[20..].to_owned(),
    ];
    for place in ["logs", "metrics", "objects"] {
        for form in &forms {
            let places = vec![(place, format!("something\nbefore {form} and after"))];
            assert!(
                !leaks(&places, std::slice::from_ref(&secret)).is_empty(),
                "{form} in the {place}"
            );
        }
    }
    let places = vec![("logs", "abcdefghij ASIA0123".to_owned())];
    assert_eq!(leaks(&places, &[secret]), Vec::<String>::new());
}
