//! STS: AssumeRole and GetCallerIdentity, API version 2011-06-15.

use std::collections::BTreeSet;

use super::clock::{Clock, Seconds};
use super::ec2::tags::{self, Tags};
use super::error::ApiError;
use super::iam::{Attempt, may_assume};
use super::identity::{Identities, Principal, RoleSpec, account_of};
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

/// The parameters of an AssumeRole.
struct AssumeRole {
    arn: String,
    /// The role's account, by its ARN.
    account: String,
    session: String,
    external_id: Option<String>,
    source_identity: Option<String>,
    seconds: i64,
    tags: Tags,
    transitive: Vec<String>,
}

impl AssumeRole {
    /// Reads them, and checks of each what does not depend on the caller.
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let arn = form.require("RoleArn")?;
        let session = form.require("RoleSessionName")?;
        let external_id = form.take("ExternalId");
        let source_identity = form.take("SourceIdentity");
        let seconds = form.number("DurationSeconds")?.unwrap_or(3600);
        let tags = tags::take_all(form, "Tags.member")?;
        let transitive = form.list("TransitiveTagKeys.member");
        form.finish()?;

        check_text("roleSessionName", &session, 2, 64)?;
        if let Some(external_id) = &external_id {
            check_text("externalId", external_id, 2, 1224)?;
        }
        if let Some(source_identity) = &source_identity {
            check_text("sourceIdentity", source_identity, 2, 64)?;
        }
        if let Some(key) = transitive.iter().find(|key| !tags.contains_key(*key)) {
            return Err(validation(format!(
                "The transitive tag key {key} is not one of the session tags"
            )));
        }
        let account = account_of(&arn)
            .filter(|_| arn.starts_with("arn:") && arn.contains(":role/"))
            .ok_or_else(|| validation(format!("{arn} is invalid")))?
            .to_owned();
        if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return Err(validation(format!(
                "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
                 Member must have value between {MIN_SECONDS} and {MAX_SECONDS}"
            )));
        }
        Ok(Self {
            arn,
            account,
            session,
            external_id,
            source_identity,
            seconds,
            tags,
            transitive,
        })
    }

    /// The tags of the session, those included that it inherits from the caller's, and the keys of
    /// those that sessions inherit from it.
    fn session_tags(&self, caller: &Principal) -> Result<(Tags, BTreeSet<String>), ApiError> {
        let mut tags = caller.inherited();
        if let Some(key) = tags.keys().find(|key| self.tags.contains_key(*key)) {
            return Err(ApiError::invalid_value(format!(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session: {key}"
            )));
        }
        let transitive = tags.keys().chain(&self.transitive).cloned().collect();
        tags.extend(self.tags.clone());
        Ok((tags, transitive))
    }

    /// Checks the session's duration against what the role and role chaining allow.
    fn check_duration(&self, caller: &Principal, role: &RoleSpec) -> Result<(), ApiError> {
        if caller.session && self.seconds > MAX_CHAINED_SECONDS {
            return Err(validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            ));
        }
        if self.seconds.unsigned_abs() > role.max_session_seconds {
            return Err(validation(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        Ok(())
    }
}

fn assume_role(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let request = AssumeRole::take(form)?;
    let AssumeRole {
        arn, account, session, ..
    } = &request;
    if context.disabled.contains(&(account.clone(), context.region.to_owned())) {
        let message = format!(
            "STS is not activated in this region for account:{account}. Your account administrator can activate STS in \
             this region using the IAM Console."
        );
        return Err(ApiError::new("RegionDisabledException", message).with_status(403));
    }
    let caller = context.caller;
    // STS knows no roles of other partitions, whatever their account.
    let partition = partition::of_arn(arn);
    if partition != partition::of_arn(&caller.arn) {
        return Err(validation("Request ARN is invalid"));
    }
    let (tags, transitive) = request.session_tags(caller)?;
    let attempt = Attempt {
        caller,
        region: context.region,
        role_arn: arn,
        session_name: session,
        external_id: request.external_id.as_deref(),
        source_identity: request.source_identity.as_deref(),
        tags: &tags,
        transitive: &transitive,
    };
    // A role that does not exist and one that does not trust the caller get the same answer.
    let role = context.identities.role(arn).ok_or("sts:AssumeRole");
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
    request.check_duration(caller, &role.spec)?;

    let name = arn.rsplit('/').next().unwrap_or_default();
    let principal = Principal {
        arn: format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}"),
        user_id: format!("{}:{session}", role.id),
        account: account.clone(),
        role: arn.clone(),
        session: true,
        tags,
        transitive,
        source_identity: request.source_identity.or_else(|| caller.source_identity.clone()),
    };
    let expires = context.now + Seconds::from(u32::try_from(request.seconds).unwrap_or(u32::MAX));
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
