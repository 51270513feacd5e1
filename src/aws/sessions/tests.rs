//! The pool against the real SDK and a small STS on a real port.

use std::time::{Duration, SystemTime};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::region::Region;
use parking_lot::Mutex;
use vpce_core::error::Class;

use super::{
    fake_sts::{Answer, FakeSts},
    *,
};

pub(super) const ACCOUNT: &str = "111111111111";

const HOUR: Answer = Answer::Session(Duration::from_secs(3600));

/// How soon the tests try a refused role again.
const RETRY: Duration = Duration::from_millis(400);

/// (account, action, class of the error) of each observed call.
type Observed = Arc<Mutex<Vec<(String, &'static str, Option<Class>)>>>;

fn pool(sts: &FakeSts) -> (Sessions, Observed) {
    let base = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(sts.url())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "AKIABASE",
            "base-secret",
            None,
            None,
            "test",
        )))
        .build();
    let settings = Settings { refused_retry: RETRY };
    let observed = Observed::default();
    let records = observed.clone();
    let observer: Observer = Arc::new(move |record| {
        let record = (record.account_id.to_owned(), record.action, record.error);
        records.lock().push(record);
    });
    (Sessions::new(&base, settings, observer), observed)
}

fn role() -> SessionKey {
    SessionKey {
        role_arn: format!("arn:aws:iam::{ACCOUNT}:role/vpce").parse().expect("a role"),
        external_id: Some("the-external-id".to_owned()),
        duration_seconds: 3600,
        session_name: "vpce-operator".to_owned(),
        tags: [("team".to_owned(), "blue".to_owned())].into(),
        source_identity: Some("cluster-1".to_owned()),
    }
}

/// Waits until STS was asked that often, or for long enough to be sure that it will not be.
async fn wait_for_assumes(sts: &FakeSts, number: usize, longest: Duration) -> usize {
    let end = SystemTime::now() + longest;
    while sts.asked("AssumeRole").len() < number && SystemTime::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sts.asked("AssumeRole").len()
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_cost_one_assume_role() {
    let sts = FakeSts::start(HOUR).await;
    let (sessions, observed) = pool(&sts);
    let asking = (0..100).map(|_| {
        let sessions = sessions.clone();
        tokio::spawn(async move { sessions.get(&role()).await })
    });
    for session in futures::future::join_all(asking).await {
        let session = session.expect("no panic").expect("a session");
        assert_eq!(session.account_id().as_str(), ACCOUNT);
        assert!(!session.is_clamped());
    }
    let assumed = sts.asked("AssumeRole");
    assert_eq!(assumed.len(), 1);
    assert_eq!(assumed[0].access_key_id, "AKIABASE");
    for (name, value) in [
        ("RoleArn", "arn:aws:iam::111111111111:role/vpce"),
        ("ExternalId", "the-external-id"),
        ("RoleSessionName", "vpce-operator"),
        ("SourceIdentity", "cluster-1"),
        ("DurationSeconds", "3600"),
    ] {
        assert_eq!(assumed[0].parameters[name], value, "{name}");
    }
    let checked = sts.asked("GetCallerIdentity");
    assert_eq!(checked.len(), 1);
    assert_eq!(checked[0].access_key_id, "ASIA1");
    assert_eq!(
        *observed.lock(),
        [
            (ACCOUNT.to_owned(), "AssumeRole", None),
            (ACCOUNT.to_owned(), "GetCallerIdentity", None)
        ]
    );
    let left = sessions
        .expirations()
        .get(&role())
        .and_then(|expires| expires.duration_since(SystemTime::now()).ok())
        .expect("not expired");
    assert!(left > Duration::from_secs(3590), "{left:?}");
}

#[tokio::test]
async fn a_refused_role_is_remembered_and_found_corrected_by_a_later_try() {
    let sts = FakeSts::start(Answer::Denied).await;
    let (sessions, observed) = pool(&sts);
    let asking = (0..50).map(|_| {
        let sessions = sessions.clone();
        tokio::spawn(async move { sessions.get(&role()).await })
    });
    for refusal in futures::future::join_all(asking).await {
        let refusal = refusal.expect("no panic").expect_err("refused");
        assert!(matches!(refusal, Refusal::Denied { .. }), "{refusal:?}");
        assert!(refusal.retry_after() <= RETRY, "{:?}", refusal.retry_after());
        let message = refusal.to_string();
        assert!(
            message.contains("AccessDenied") && message.contains("trust policy"),
            "{message}"
        );
        assert!(!message.contains("the-external-id"), "{message}");
    }
    assert_eq!(sts.asked("AssumeRole").len(), 1);
    assert_eq!(
        *observed.lock(),
        [(ACCOUNT.to_owned(), "AssumeRole", Some(Class::Denied))]
    );
    assert_eq!(sessions.expirations().get(&role()), None);

    // Refused again, it is left alone for longer.
    tokio::time::sleep(RETRY).await;
    let refusal = sessions.get(&role()).await.expect_err("refused");
    assert!(refusal.retry_after() > RETRY, "{:?}", refusal.retry_after());

    sts.set_answer(HOUR);
    tokio::time::sleep(RETRY * 2).await;
    sessions.get(&role()).await.expect("corrected");
    assert_eq!(sts.asked("AssumeRole").len(), 3);
}

#[tokio::test]
async fn a_refusal_says_what_its_code_is_about_and_not_always_the_trust_policy() {
    let untagged = SessionKey {
        tags: BTreeMap::new(),
        ..role()
    };
    for (code, role, names, does_not_name) in [
        ("PackedPolicyTooLarge", role(), "session_tags", "trust policy"),
        (
            "InvalidParameterValue",
            role(),
            "--disable-session-tags",
            "trust policy",
        ),
        ("ValidationError", role(), "session_tags", "trust policy"),
        (
            "ValidationError",
            untagged.clone(),
            "session_duration_seconds",
            "session_tags",
        ),
        ("NoSuchEntity", untagged, "trust policy", "session_tags"),
    ] {
        let sts = FakeSts::start(Answer::Refused(code)).await;
        let (sessions, _) = pool(&sts);
        let refusal = sessions.get(&role).await.expect_err("refused").to_string();
        for part in [code, "in AWS's words", names] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(!refusal.contains(does_not_name), "{does_not_name}: {refusal}");
    }
}

#[tokio::test]
async fn without_a_region_nothing_is_sent_and_the_setting_is_named() {
    let sts = FakeSts::start(HOUR).await;
    for region in [None, Some(Region::new(""))] {
        let base = SdkConfig::builder()
            .region(region)
            .endpoint_url(sts.url())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKIABASE",
                "base-secret",
                None,
                None,
                "test",
            )))
            .build();
        let observer: Observer = Arc::new(|_| ());
        let nowhere = Sessions::new(&base, Settings::default(), observer);
        let refusal = nowhere.get(&role()).await.expect_err("nowhere to ask").to_string();
        for part in ["settings.awsRegion", "AWS_REGION"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
    assert_eq!(sts.asked("AssumeRole").len(), 0);
}

#[tokio::test]
async fn a_session_in_another_account_than_the_roles_is_not_used() {
    let sts = FakeSts::start(HOUR).await;
    sts.set_account("222222222222");
    let (sessions, _) = pool(&sts);
    let refusal = sessions.get(&role()).await.expect_err("the wrong account");
    let Refusal::WrongAccount { expected, actual, .. } = &refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!((expected.as_str(), actual.as_str()), (ACCOUNT, "222222222222"));
    sessions.get(&role()).await.expect_err("remembered");
    assert_eq!(sts.asked("AssumeRole").len(), 1);
}

#[tokio::test]
async fn a_session_is_renewed_before_it_expires_and_signs_with_what_is_new() {
    let sts = FakeSts::start(Answer::Session(Duration::from_secs(6))).await;
    let (sessions, _) = pool(&sts);
    let session = sessions.get(&role()).await.expect("a session");
    let client = session.ec2("eu-central-1");
    let first = session.expires_at();
    client.describe_regions().send().await.expect_err("refused");

    assert_eq!(wait_for_assumes(&sts, 2, Duration::from_secs(5)).await, 2);
    assert!(SystemTime::now() < first, "renewed too late");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(session.expires_at() > first);
    client.describe_regions().send().await.expect_err("refused");
    let signed = sts.asked("DescribeRegions");
    assert_eq!(signed[0].access_key_id, "ASIA1");
    assert_eq!(signed[1].access_key_id, sts.asked("GetCallerIdentity")[1].access_key_id);
    assert_ne!(signed[0].access_key_id, signed[1].access_key_id);
    let same = sessions.get(&role()).await.expect("the same session");
    assert!(Arc::ptr_eq(&session, &same));
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_serves_until_it_expires() {
    let sts = FakeSts::start(Answer::Session(Duration::from_secs(6))).await;
    let (sessions, _) = pool(&sts);
    let session = sessions.get(&role()).await.expect("a session");
    sts.set_answer(Answer::Denied);
    assert!(wait_for_assumes(&sts, 2, Duration::from_secs(5)).await >= 2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    sessions.get(&role()).await.expect("not expired yet");
    assert!(matches!(session.renewal_error(), Some(Refusal::Denied { .. })));

    let left = session.expires_at().duration_since(SystemTime::now());
    tokio::time::sleep(left.unwrap_or_default()).await;
    let refusal = sessions.get(&role()).await.expect_err("expired");
    assert!(matches!(refusal, Refusal::Denied { .. }), "{refusal:?}");
    // What still holds the old session cannot sign with it any more.
    let signed = sts.asked("DescribeRegions").len();
    let call = session.ec2("eu-west-1").describe_regions().send().await;
    let error = crate::aws::error::from_sdk("DescribeRegions", call.expect_err("expired"));
    assert!(error.is_expired_session() && !error.outcome_unknown(), "{error}");
    assert_eq!(sts.asked("DescribeRegions").len(), signed);
}

#[tokio::test]
async fn a_chained_session_is_clamped_to_an_hour_and_says_so() {
    let sts = FakeSts::start(Answer::NotLongerThanAnHour).await;
    let (sessions, _) = pool(&sts);
    let long = SessionKey {
        duration_seconds: 43_200,
        ..role()
    };
    let session = sessions.get(&long).await.expect("a session");
    assert!(session.is_clamped());
    let asked: Vec<String> = sts
        .asked("AssumeRole")
        .iter()
        .map(|asked| asked.parameters["DurationSeconds"].clone())
        .collect();
    assert_eq!(asked, ["43200", "3600"]);
    // What STS said of the operator's identity holds for every role.
    let other = SessionKey {
        duration_seconds: 7200,
        ..role()
    };
    assert!(sessions.get(&other).await.expect("a session").is_clamped());
    assert_eq!(sts.asked("AssumeRole").len(), 3);
}

#[tokio::test]
async fn a_role_that_is_forgotten_is_renewed_no_more_and_opened_again() {
    let sts = FakeSts::start(Answer::Session(Duration::from_secs(5))).await;
    let (sessions, _) = pool(&sts);
    sessions.get(&role()).await.expect("a session");
    sessions.forget(&role()).await;
    assert_eq!(sessions.expirations().get(&role()), None);
    assert_eq!(wait_for_assumes(&sts, 2, Duration::from_secs(4)).await, 1);
    sessions.get(&role()).await.expect("a session");
    assert_eq!(sts.asked("AssumeRole").len(), 2);
}

#[tokio::test]
async fn roles_that_differ_in_anything_have_sessions_of_their_own() {
    let sts = FakeSts::start(HOUR).await;
    let (sessions, _) = pool(&sts);
    let other = SessionKey {
        external_id: None,
        ..role()
    };
    let first = sessions.get(&role()).await.expect("a session");
    let second = sessions.get(&other).await.expect("a session");
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(sts.asked("AssumeRole").len(), 2);
    assert!(!sts.asked("AssumeRole")[1].parameters.contains_key("ExternalId"));
}

#[tokio::test]
async fn an_sts_that_is_not_there_is_no_fault_of_the_role() {
    let sts = FakeSts::start(HOUR).await;
    let (sessions, _) = pool(&sts);
    let base = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(sts.url())
        .build();
    let observer: Observer = Arc::new(|_| ());
    let without_credentials = Sessions::new(&base, Settings::default(), observer);
    let refusal = without_credentials
        .get(&role())
        .await
        .expect_err("nothing to sign with");
    assert!(matches!(refusal, Refusal::Unavailable { .. }), "{refusal}");
    assert_eq!(sts.asked("AssumeRole").len(), 0);
    sessions.get(&role()).await.expect("with credentials it works");
}

#[tokio::test]
async fn no_debug_output_shows_a_credential() {
    let sts = FakeSts::start(HOUR).await;
    let (sessions, _) = pool(&sts);
    let session = sessions.get(&role()).await.expect("a session");
    let client = session.ec2("eu-west-1");
    let shown = format!("{sessions:?} {session:?} {:?} {client:?} {:?}", role(), client.config());
    for secret in ["the-secret", "the-token", "base-secret", "ASIA1", "the-external-id"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
