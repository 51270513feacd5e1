//! What happens in the hour, minute by minute of simulated time. Each step waits until the operator
//! has said what it should of it.

use std::thread;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::super::bed::{distrustful, role};
use super::super::objects::ENDPOINT_SERVICE;
use super::estate::{
    ANALYTICS, BILLING, CONSUMERS, CROWD, Estate, IN_VAIN, PARTNERS, PARTNERSHIPS, PAYMENTS, SANDBOX, Team, WAREHOUSE,
    endpoints,
};
use super::{Hour, SCRAPE, Scrape, WITHIN};
use crate::api_proxy::{Ending, Fault, FaultKind};
use crate::aws::LastError;

/// Does something, and waits until it shows.
type Step = fn(&Hour) -> Result<()>;

const MINUTE: f64 = 60.0;
/// The share of EC2's rates that others use up while many endpoints are created.
const OTHERS_SHARE: f64 = 0.8;
/// So many writes of a status the API server refuses.
const REFUSALS: usize = 4;
const RECONCILES: &str = "vpce_reconciles_total";
const FAILED: &[(&str, &str)] = &[("result", "error")];
/// So many of warehouse's ten vanish: more than a fifth, and more than three.
const VANISHED: usize = 4;

impl Hour {
    /// Applies the endpoints that are there before anything happens, and waits until they are Ready
    /// and looked at once more.
    ///
    /// # Errors
    /// When they do not become Ready.
    pub fn settle(&self) -> Result<()> {
        println!("applying {} endpoints of six teams", self.estate.settled());
        self.bed.objects.create_endpoints(self.estate.endpoints())?;
        for team in [&PAYMENTS, &ANALYTICS, &BILLING, &SANDBOX, &WAREHOUSE] {
            self.until_ready(team.name)?;
        }
        self.pass(6.0 * MINUTE);
        Ok(())
    }

    /// Plays the hour. At its end some problems remain.
    ///
    /// # Errors
    /// When something does not happen as the script has it.
    pub fn play(&self) -> Result<()> {
        let steps: [(f64, &str, Step); 12] = [
            (2.0, "permissions are taken from a role", Hour::deny),
            (
                5.0,
                "a team offers services, one of them of no load balancer",
                Hour::offer,
            ),
            (8.0, "endpoints wait for acceptance", Hour::ask_partners),
            (
                14.0,
                "many endpoints come at once, and others use the same rate",
                Self::crowd,
            ),
            (21.0, "the API server refuses writes, and a watch expires", Hour::refuse),
            (26.0, "a partner accepts, another rejects", Hour::hear_partners),
            (30.0, "an endpoint fails", Hour::fail),
            (34.0, "an account is suspended", Hour::suspend),
            (40.0, "an object is gone that its endpoint outlives", Hour::orphan),
            (44.0, "endpoints vanish", Hour::vanish),
            (50.0, "a role trusts nobody any more", Hour::distrust),
            (56.0, "the many are deleted", Hour::delete_crowd),
        ];
        let begun = self.bed.aws.now();
        let until = |minute: f64| self.pass((begun + minute * MINUTE - self.bed.aws.now()).max(0.0));
        for (minute, what, step) in steps {
            until(minute);
            println!("minute {:3.0}: {what}", (self.bed.aws.now() - begun) / MINUTE);
            step(self)?;
        }
        until(60.0);
        Ok(())
    }

    fn deny(&self) -> Result<()> {
        for action in ["ec2:CreateVpcEndpoint", "ec2:DeleteVpcEndpoints"] {
            self.bed.aws.deny(&role(BILLING.account), action);
        }
        self.bed
            .objects
            .create_endpoints(endpoints(&BILLING, "denied", IN_VAIN))?;
        self.delete(&BILLING, &["api-0"])?;
        for name in ["denied-0", "denied-1", "api-0"] {
            self.until_reason(BILLING.name, name, "Denied")?;
        }
        Ok(())
    }

    /// Payments offers two load balancers, one of which is gone; partners is let in, and sandbox
    /// waits to be accepted.
    fn offer(&self) -> Result<()> {
        let aws = &self.bed.aws;
        let there = Estate::load_balancer(&self.bed, &PAYMENTS, "cards")?;
        let gone = there.replace("/cards/", "/ledger/");
        let principal = |team: &Team| format!("arn:aws:iam::{}:root", team.account);
        let service = |name: &str, arn: &str| {
            let spec = json!({
                "load_balancer": {"network_load_balancer_arns": [arn]},
                "allowed_principals": CONSUMERS.map(principal), "consumers": {"account_ids": [PARTNERS.account]},
            });
            (PAYMENTS.name.to_owned(), name.to_owned(), spec)
        };
        self.bed
            .objects
            .create_endpoint_services([service("cards", &there), service("ledger", &gone)])?;
        self.until_reason_of(ENDPOINT_SERVICE, PAYMENTS.name, "cards", "Available")?;
        self.until_reason_of(ENDPOINT_SERVICE, PAYMENTS.name, "ledger", "NotFound")?;
        let offered = aws.endpoint_services(PAYMENTS.account, PAYMENTS.region);
        let offered = offered.first().context("payments offers nothing")?;
        self.bed.objects.create_endpoints(CONSUMERS.map(|team| {
            let mut spec = team.spec();
            spec["vpc_endpoint_service_id"] = json!(offered.name);
            (team.name.to_owned(), "cards".to_owned(), spec)
        }))?;
        for state in ["available", "pending_acceptance"] {
            let labels = [("namespace", PAYMENTS.name), ("name", "cards"), ("state", state)];
            self.until_metric("vpce_endpoint_service_connections", &labels, 1.0)?;
        }
        Ok(())
    }

    fn ask_partners(&self) -> Result<()> {
        self.bed
            .objects
            .create_endpoints(endpoints(&PARTNERS, "partner", PARTNERSHIPS))?;
        for number in 0..PARTNERSHIPS {
            self.until_reason(PARTNERS.name, &format!("partner-{number}"), "PendingAcceptance")?;
        }
        Ok(())
    }

    fn crowd(&self) -> Result<()> {
        self.bed.aws.configure(|config| config.others_share = OTHERS_SHARE);
        self.bed
            .objects
            .create_endpoints(endpoints(&ANALYTICS, "report", CROWD))?;
        self.until_metric(
            "vpce_aws_rate_limiter_queue_length",
            &[("account_id", ANALYTICS.account)],
            1.0,
        )?;
        let throttled = [("account_id", ANALYTICS.account), ("class", "throttled")];
        self.until_metric("vpce_aws_request_errors_total", &throttled, 1.0)?;
        self.pass(5.0 * MINUTE);
        self.bed.aws.configure(|config| config.others_share = 0.0);
        Ok(())
    }

    fn refuse(&self) -> Result<()> {
        self.proxy.end_watches("vpcendpoints", Ending::Expired);
        self.until_metric("vpce_watch_errors_total", &[], 1.0)?;
        // Twice, since a counter that appears with its first error has no rate before the next.
        for round in 1..=2 {
            let so_far = Scrape::of(&self.bed.operator)?.sum(RECONCILES, FAILED);
            self.proxy.fault(Fault {
                times: REFUSALS,
                namespace: Some(PAYMENTS.name.to_owned()), // one account's: there is a series for each
                ..Fault::once("patch", "vpcendpoints/status", FaultKind::refuse(500))
            });
            for number in 4..8 {
                let tags = json!({"spec": {"tags": {"change": round.to_string()}}}).to_string();
                self.patch("vpcendpoint", Some(&PAYMENTS), &format!("api-{number}"), &tags)?;
            }
            self.until_metric(RECONCILES, FAILED, so_far + 1.0)?;
            thread::sleep(3 * SCRAPE);
        }
        Ok(())
    }

    fn hear_partners(&self) -> Result<()> {
        let aws = &self.bed.aws;
        for name in ["partner-0", "partner-1"] {
            aws.accept(
                PARTNERS.account,
                PARTNERS.region,
                &self.endpoint_id(PARTNERS.name, name)?,
            )?;
        }
        let rejected = self.endpoint_id(PARTNERS.name, "partner-2")?;
        aws.reject(PARTNERS.account, PARTNERS.region, &rejected)?;
        self.until_reason(PARTNERS.name, "partner-2", "Rejected")
    }

    fn fail(&self) -> Result<()> {
        let error = LastError {
            code: "InternalError".to_owned(),
            message: "An internal error has occurred".to_owned(),
        };
        let id = self.endpoint_id(PAYMENTS.name, "api-3")?;
        self.bed.aws.fail(PAYMENTS.account, PAYMENTS.region, &id, error)?;
        self.until_reason(PAYMENTS.name, "api-3", "Failed")
    }

    fn suspend(&self) -> Result<()> {
        self.patch("awsaccount", None, SANDBOX.name, r#"{"spec":{"suspended":true}}"#)?;
        let tags = json!({"spec": {"tags": {"stage": "two"}}}).to_string();
        self.patch("vpcendpoint", Some(&SANDBOX), "api-1", &tags)?;
        self.delete(&SANDBOX, &["api-0", "api-2"])?;
        for name in ["api-0", "api-1", "api-2"] {
            self.until_reason(SANDBOX.name, name, "AccountSuspended")?;
        }
        Ok(())
    }

    /// A finalizer is removed by hand, while changes are paused.
    fn orphan(&self) -> Result<()> {
        self.patch(
            "vpcendpoint",
            Some(&SANDBOX),
            "api-2",
            r#"{"metadata":{"finalizers":null}}"#,
        )?;
        let labels = [("account_id", SANDBOX.account), ("retained", "false")];
        self.until_metric("vpce_orphans", &labels, 1.0)
    }

    fn vanish(&self) -> Result<()> {
        for number in 0..VANISHED {
            let id = self.endpoint_id(WAREHOUSE.name, &format!("api-{number}"))?;
            self.bed
                .aws
                .delete_endpoint_behind(WAREHOUSE.account, WAREHOUSE.region, &id)?;
        }
        self.until_metric("vpce_creation_paused", &[("account_id", WAREHOUSE.account)], 1.0)?;
        self.until_reason(WAREHOUSE.name, "api-0", "CreationPaused")
    }

    fn distrust(&self) -> Result<()> {
        self.bed.aws.set_role(&role(BILLING.account), distrustful())?;
        self.bed.aws.expire_sessions();
        self.until_reason(BILLING.name, "denied-0", "AccountNotReady")
    }

    fn delete_crowd(&self) -> Result<()> {
        let names: Vec<String> = (0..CROWD).map(|number| format!("report-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.delete(&ANALYTICS, &names)?;
        self.bed.wait("they are being deleted", WITHIN, super::PAUSE, || {
            let all = self.of_namespace(ANALYTICS.name)?;
            Ok(all.iter().any(|object| object["status"]["state"] == "deleting"))
        })
    }

    fn delete(&self, team: &Team, names: &[&str]) -> Result<()> {
        let arguments = ["delete", "vpcendpoint", "--wait=false", "--namespace", team.name];
        self.bed.plane.kubectl(&[&arguments, names].concat())?.success()?;
        Ok(())
    }

    fn patch(&self, kind: &str, team: Option<&Team>, name: &str, patch: &str) -> Result<()> {
        let mut arguments = vec!["patch", kind, name, "--type=merge", "--patch", patch];
        if let Some(team) = team {
            arguments.extend(["--namespace", team.name]);
        }
        self.bed.plane.kubectl(&arguments)?.success()?;
        Ok(())
    }
}
