//! As much of STS as the tests of the pool need, on a real port.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_smithy_types::date_time::{DateTime, Format};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use parking_lot::Mutex;

use super::tests::ACCOUNT;

/// What STS does when asked to assume a role.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Give a session of this length.
    Session(Duration),
    /// As a trust policy does that does not know us.
    Denied,
    /// As for a chained session of more than an hour; shorter ones are given.
    NotLongerThanAnHour,
    /// Status 400 with this code.
    Refused(&'static str),
}

/// One call as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) action: String,
    pub(super) access_key_id: String,
    pub(super) parameters: BTreeMap<String, String>,
}

struct Inner {
    answer: Answer,
    account_id: String,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub(super) struct FakeSts {
    inner: Arc<Mutex<Inner>>,
    url: String,
}

impl FakeSts {
    pub(super) async fn start(answer: Answer) -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            answer,
            account_id: ACCOUNT.to_owned(),
            asked: Vec::new(),
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = Router::new().fallback(handle).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        FakeSts { inner, url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn set_answer(&self, answer: Answer) {
        self.inner.lock().answer = answer;
    }

    /// The account that GetCallerIdentity names.
    pub(super) fn set_account(&self, account_id: &str) {
        self.inner.lock().account_id = account_id.to_owned();
    }

    pub(super) fn asked(&self, action: &str) -> Vec<Asked> {
        let inner = self.inner.lock();
        let of_action = inner.asked.iter().filter(|asked| asked.action == action);
        of_action.cloned().collect()
    }
}

async fn handle(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    // Long enough for those who ask at the same time to find the call on its way.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let parameters: BTreeMap<String, String> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let authorization = headers["authorization"].to_str().expect("ASCII");
    let credential = authorization.split("Credential=").nth(1).expect("signed");
    let access_key_id = credential.split('/').next().expect("not empty").to_owned();
    let action = parameters["Action"].clone();
    let mut inner = inner.lock();
    inner.asked.push(Asked {
        action: action.clone(),
        access_key_id,
        parameters: parameters.clone(),
    });
    match action.as_str() {
        "AssumeRole" => {
            let seconds: u64 = parameters["DurationSeconds"].parse().expect("a number");
            let lifetime = match inner.answer {
                Answer::Session(lifetime) => lifetime,
                Answer::Denied => return refusal("AccessDenied", "not authorized to perform: sts:AssumeRole"),
                Answer::Refused(code) => {
                    let (_, body) = refusal(code, "in AWS's words");
                    return (StatusCode::BAD_REQUEST, body);
                }
                Answer::NotLongerThanAnHour if seconds > 3600 => {
                    return refusal(
                        "ValidationError",
                        "The requested DurationSeconds exceeds the 1 hour session limit for roles \
                         assumed by role chaining",
                    );
                }
                Answer::NotLongerThanAnHour => Duration::from_secs(seconds),
            };
            let number = inner.asked.len();
            (StatusCode::OK, session(number, lifetime))
        }
        "GetCallerIdentity" => (
            StatusCode::OK,
            format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{}</Account>\
                 </GetCallerIdentityResult></GetCallerIdentityResponse>",
                inner.account_id
            ),
        ),
        // EC2: the tests only look at who asked.
        _ => (
            StatusCode::FORBIDDEN,
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors>\
             <RequestID>r</RequestID></Response>"
                .to_owned(),
        ),
    }
}

fn session(number: usize, lifetime: Duration) -> String {
    let expiration = DateTime::from(SystemTime::now() + lifetime)
        .fmt(Format::DateTimeWithOffset)
        .expect("a date");
    format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA{number}</AccessKeyId>\
         <SecretAccessKey>the-secret</SecretAccessKey><SessionToken>the-token</SessionToken>\
         <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

fn refusal(code: &str, message: &str) -> (StatusCode, String) {
    let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>");
    (
        StatusCode::FORBIDDEN,
        format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"),
    )
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("two hexadecimal digits");
        decoded.push(char::from(byte));
        decoded.push_str(&part[2..].replace('+', " "));
    }
    decoded
}
