//! STS: AssumeRole and GetCallerIdentity, API version 2011-06-15.

use std::collections::BTreeSet;

use super::clock::{Clock, Seconds};
use super::ec2::tags;
use super::error::ApiError;
use super::iam::{Attempt, may_assume};
use super::identity::{Identities, Principal, account_of};
use super::partition;
use super::query::Form;
use super::xml::Xml;

pub(crate) const VERSION: &str = "2011-06-15";
pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// STS gives a session that assumes a role with another role's session an hour at most.
const MAX_CHAINED_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 900;
const MAX_SECONDS: i64 = 43_200;

pub(crate) struct Context<'a> {
    pub(crate) identities: &'a mut Identities,
    pub(crate) clock: &'a Clock,
    pub(crate) now: Seconds,
    pub(crate) caller: &'a Principal,
    /// The region whose endpoint is called.
    pub(crate) region: &'a str,
    /// Accounts and the regions that are not enabled in them.
    pub(crate) disabled: &'a BTreeSet<(String, String)>,
}

/// Carries the action out; the answer is what belongs inside `<ActionResult>`.
pub(crate) fn handle(action: &str, form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    match action {
        "AssumeRole" => assume_role(form, context),
        "GetCallerIdentity" => get_caller_identity(form, context),
        _ => Err(ApiError::new(
            "InvalidAction",
            format!("Could not find operation {action} for version {VERSION}"),
        )),
    }
}

fn get_caller_identity(form: &mut Form, context: &Context<'_>) -> Result<Xml, ApiError> {
    form.finish()?;
    let mut xml = Xml::new();
    xml.text("Arn", &context.caller.arn);
    xml.text("UserId", &context.caller.user_id);
    xml.text("Account", &context.caller.account);
    Ok(xml)
}

fn assume_role(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let arn = form.require("RoleArn")?;
    let session = form.require("RoleSessionName")?;
    let external_id = form.take("ExternalId");
    let source_identity = form.take("SourceIdentity");
    let seconds = form.number("DurationSeconds")?;
    let session_tags = tags::take_all(form, "Tags.member")?;
    let transitive = form.list("TransitiveTagKeys.member");
    form.finish()?;

    check_text("roleSessionName", &session, 2, 64)?;
    if let Some(external_id) = &external_id {
        check_text("externalId", external_id, 2, 1224)?;
    }
    if let Some(source_identity) = &source_identity {
        check_text("sourceIdentity", source_identity, 2, 64)?;
    }
    if let Some(key) = transitive.iter().find(|k| !session_tags.contains_key(*k)) {
        return Err(validation(format!(
            "The transitive tag key {key} is not one of the session tags"
        )));
    }
    let account = account_of(&arn)
        .filter(|_| arn.starts_with("arn:") && arn.contains(":role/"))
        .ok_or_else(|| validation(format!("{arn} is invalid")))?
        .to_owned();
    if context.disabled.contains(&(account.clone(), context.region.to_owned())) {
        let message = format!(
            "STS is not activated in this region for account:{account}. Your account administrator can activate STS in \
             this region using the IAM Console."
        );
        return Err(ApiError::new("RegionDisabledException", message).with_status(403));
    }
    let seconds = seconds.unwrap_or(3600);
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return Err(validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value between {MIN_SECONDS} and {MAX_SECONDS}"
        )));
    }

    let caller = context.caller;
    // STS knows no roles of other partitions, whatever their account.
    if partition::of_arn(&arn) != partition::of_arn(&caller.arn) {
        return Err(validation("Request ARN is invalid"));
    }
    let mut tags = caller.inherited();
    if let Some(key) = tags.keys().find(|key| session_tags.contains_key(*key)) {
        return Err(ApiError::invalid_value(format!(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from \
             the calling session: {key}"
        )));
    }
    let transitive: BTreeSet<String> = transitive.into_iter().chain(tags.keys().cloned()).collect();
    tags.extend(session_tags);
    let attempt = Attempt {
        caller,
        region: context.region,
        role_arn: &arn,
        session_name: &session,
        external_id: external_id.as_deref(),
        source_identity: source_identity.as_deref(),
        tags: &tags,
        transitive: &transitive,
    };
    // A role that is not there and one that does not trust the caller read the same from outside.
    let role = context.identities.role(&arn).ok_or("sts:AssumeRole");
    let role = role
        .and_then(|role| may_assume(context.identities, role, &attempt).map(|()| role))
        .map_err(|action| {
            ApiError::new(
                "AccessDenied",
                format!(
                    "User: {} is not authorized to perform: {action} on resource: {arn}",
                    caller.arn
                ),
            )
            .with_status(403)
        })?;
    if caller.session && seconds > MAX_CHAINED_SECONDS {
        return Err(validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    if seconds.unsigned_abs() > role.spec.max_session_seconds {
        return Err(validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }

    let name = arn.rsplit('/').next().unwrap_or_default();
    let partition = partition::of_arn(&arn);
    let source_identity = source_identity.or_else(|| caller.source_identity.clone());
    let principal = Principal {
        arn: format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}"),
        user_id: format!("{}:{session}", role.id),
        account,
        role: arn.clone(),
        session: true,
        tags,
        transitive,
        source_identity,
    };
    let expires = context.now + Seconds::from(u32::try_from(seconds).unwrap_or(u32::MAX));
    let mut xml = Xml::new();
    xml.element("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &principal.user_id);
        xml.text("Arn", &principal.arn);
    });
    xml.optional("SourceIdentity", principal.source_identity.as_ref());
    let credentials = context.identities.hand_out(principal, expires);
    xml.element("Credentials", |xml| {
        xml.text("AccessKeyId", &credentials.key_id);
        xml.text("SecretAccessKey", &credentials.secret);
        xml.text("SessionToken", &credentials.token);
        xml.text("Expiration", context.clock.timestamp(credentials.expires));
    });
    Ok(xml)
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// STS's rule for names and ids: `[\w+=,.@-]`, and `:/` in external ids.
fn check_text(field: &str, text: &str, least: usize, most: usize) -> Result<(), ApiError> {
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) || (field == "externalId" && ":/".contains(c));
    if (least..=most).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    Err(validation(format!(
        "1 validation error detected: Value '{text}' at '{field}' failed to satisfy constraint: \
         Member must have length between {least} and {most} and satisfy regular expression pattern: [\\w+=,.@-]*"
    )))
}

/// STS's error envelope.
pub(crate) fn error_document(error: &ApiError, request_id: &str) -> String {
    let mut xml = Xml::new();
    let namespace = format!("xmlns=\"{NAMESPACE}\"");
    xml.element_with("ErrorResponse", &namespace, |xml| {
        xml.element("Error", |xml| {
            let sender = error.status < 500;
            xml.text("Type", if sender { "Sender" } else { "Receiver" });
            xml.text("Code", &error.code);
            xml.text("Message", &error.message);
        });
        xml.text("RequestId", request_id);
    });
    xml.document()
}

/// STS's envelope of a result.
pub(crate) fn result_document(action: &str, result: &Xml, request_id: &str) -> String {
    let mut xml = Xml::new();
    let namespace = format!("xmlns=\"{NAMESPACE}\"");
    xml.element_with(&format!("{action}Response"), &namespace, |xml| {
        xml.element(&format!("{action}Result"), |xml| xml.append(result));
        xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    });
    xml.document()
}
